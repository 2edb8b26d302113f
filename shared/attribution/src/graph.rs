//! Pointers from span to span: their loops and their ends, in linear time and without recursion.

/// Where a pointer leads.
pub(crate) fn follow<T: Copy>(next: &[Option<T>], at: usize) -> Option<T> {
    next.get(at).copied().flatten()
}

/// The members of every loop.
pub(crate) fn find_loops(next: &[Option<usize>]) -> Vec<Vec<usize>> {
    let mut walked_by: Vec<Option<usize>> = vec![None; next.len()];
    let mut loops = Vec::new();
    for walk in 0..next.len() {
        let mut here = walk;
        while let Some(mark) = walked_by.get_mut(here)
            && mark.is_none()
        {
            *mark = Some(walk);
            match follow(next, here) {
                Some(onward) => here = onward,
                None => break,
            }
        }
        // A walk that ends on its own steps at a node with a pointer has closed a loop just now.
        if follow(&walked_by, here) == Some(walk) && follow(next, here).is_some() {
            loops.push(members_of_loop(next, here));
        }
    }
    loops
}

fn members_of_loop(next: &[Option<usize>], entry: usize) -> Vec<usize> {
    let mut members = vec![entry];
    let mut here = entry;
    while let Some(onward) = follow(next, here)
        && onward != entry
    {
        members.push(onward);
        here = onward;
    }
    members
}

/// Removes the pointer of the smallest member of every loop; returns those members.
pub(crate) fn cut_loops(next: &mut [Option<usize>]) -> Vec<usize> {
    let cuts: Vec<usize> = find_loops(next).into_iter().filter_map(|members| members.into_iter().min()).collect();
    for cut in &cuts {
        if let Some(pointer) = next.get_mut(*cut) {
            *pointer = None;
        }
    }
    cuts
}

/// Where one arrives from each node; `next` has no loops.
pub(crate) fn find_ends(next: &[Option<usize>]) -> Vec<usize> {
    let mut ends: Vec<Option<usize>> = vec![None; next.len()];
    let mut path = Vec::new();
    for start in 0..next.len() {
        let mut here = start;
        let end = loop {
            if let Some(known) = follow(&ends, here) {
                break known;
            }
            path.push(here);
            match follow(next, here) {
                Some(onward) => here = onward,
                None => break here,
            }
        };
        for passed in path.drain(..) {
            if let Some(slot) = ends.get_mut(passed) {
                *slot = Some(end);
            }
        }
    }
    ends.into_iter().enumerate().map(|(at, end)| end.unwrap_or(at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn atr_3_every_loop_is_found_once_and_cut_at_its_smallest_member() {
        // 0 -> 2 -> 1 -> 0, 3 -> 1 (a tail), 4 -> 4, 5 -> 6 -> end.
        let mut next = [Some(2), Some(0), Some(1), Some(1), Some(4), Some(6), None];
        assert_eq!(find_loops(&next).len(), 2);
        assert_eq!(cut_loops(&mut next), [0, 4]);
        assert_eq!(find_loops(&next).len(), 0);
        assert_eq!(find_ends(&next), [0, 0, 0, 0, 4, 6, 6]);
    }
}
