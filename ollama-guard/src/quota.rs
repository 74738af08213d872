//! How much others can make the daemon keep: each user so much, and all of them together so much. Root is not limited by
//! what they do.

use std::collections::HashMap;

/// What is left.
#[derive(Clone, Debug)]
pub(crate) struct Quota {
    root: usize,
    each: usize,
    others: usize,
    taken: HashMap<u32, usize>,
}

impl Quota {
    /// For root, for each other user, and for all of these together.
    pub(crate) fn new(root: usize, each: usize, others: usize) -> Self {
        Self { root, each, others, taken: HashMap::new() }
    }

    /// Takes one for this user; false if there is none left.
    pub(crate) fn take(&mut self, user: u32) -> bool {
        let all = if user == 0 { &mut self.root } else { &mut self.others };
        // A user who gets nothing is not remembered either.
        let taken = self.taken.get(&user).copied().unwrap_or(0);
        if *all == 0 || user != 0 && taken >= self.each {
            return false;
        }
        *all -= 1;
        self.taken.insert(user, taken + 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_what_is_root_s_or_another_s() {
        let mut quota = Quota::new(3, 2, 5);
        let taken = |quota: &mut Quota, user| (0..10).filter(|_| quota.take(user)).count();
        assert_eq!((taken(&mut quota, 1), taken(&mut quota, 2), taken(&mut quota, 3)), (2, 2, 1));
        assert_eq!((taken(&mut quota, 4), quota.taken.len()), (0, 3));
        assert_eq!(taken(&mut quota, 0), 3);
    }
}
