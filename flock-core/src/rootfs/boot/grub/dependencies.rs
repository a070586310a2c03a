//! Which modules a module needs, from GRUB's `moddep.lst`.
//!
//! One line for each module: its name, a colon, the modules it needs.

use std::collections::{HashMap, HashSet};

/// The modules `wanted` with all that they need, each once and behind what it
/// needs.
///
/// Their order is the one that `grub-mkimage` gives them (what a module needs
/// from the line's end to its begin), so that the two can be compared.
pub(super) fn resolve<'a>(list: &'a str, wanted: &[&'a str]) -> Vec<&'a str> {
    let needs: HashMap<_, _> = list
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, needed)| (name.trim(), needed))
        .collect();
    let mut resolved = Vec::new();
    let mut seen = HashSet::new();
    // Marked pending once what it needs is on the stack above it.
    let mut stack: Vec<_> = wanted.iter().rev().map(|name| (*name, false)).collect();
    while let Some((name, is_pending)) = stack.pop() {
        if is_pending {
            resolved.push(name);
        } else if seen.insert(name) {
            stack.push((name, true));
            let needed = needs.get(name).map_or("", |needed| needed);
            stack.extend(needed.split_whitespace().map(|name| (name, false)));
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn what_is_needed_comes_first() {
        let list = "normal: extcmd terminal\nterminal:\nextcmd: terminal\nfat: fshelp\nfshelp:\n";
        assert_eq!(
            resolve(list, &["fat", "normal"]),
            ["fshelp", "fat", "terminal", "extcmd", "normal"]
        );
        assert_eq!(resolve(list, &["normal", "terminal"]), ["terminal", "extcmd", "normal"]);
    }

    #[test]
    fn circles_end_and_unknown_modules_stay() {
        assert_eq!(resolve("a: b\nb: a\nno colon\n", &["a", "x"]), ["b", "a", "x"]);
    }
}
