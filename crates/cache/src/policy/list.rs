//! Nodes in one vector, in doubly linked queues.

/// No node.
const NONE: usize = usize::MAX;

/// The queues that a node may stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    /// The first queue of S3-FIFO.
    Small,
    /// The only queue of LRU, the second of S3-FIFO.
    Main,
}

/// Where a node stands.
#[derive(Debug, Clone, Copy)]
struct Links {
    before: usize,
    after: usize,
    queue: Option<Queue>,
}

#[derive(Debug, Clone, Copy)]
struct Ends {
    head: usize,
    tail: usize,
    weight: u128,
}

impl Ends {
    const EMPTY: Self = Self { head: NONE, tail: NONE, weight: 0 };
}

/// Values that each have a weight and may stand in one of the queues.
#[derive(Debug)]
pub(crate) struct Lists<T> {
    nodes: Vec<Option<(Links, u64, T)>>,
    free: Vec<usize>,
    ends: [Ends; 2],
}

impl<T> Lists<T> {
    pub(crate) fn new() -> Self {
        Self { nodes: Vec::new(), free: Vec::new(), ends: [Ends::EMPTY; 2] }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Adds a value that stands in no queue.
    pub(crate) fn add(&mut self, value: T, weight: u64) -> usize {
        let links = Links { before: NONE, after: NONE, queue: None };
        let node = Some((links, weight, value));
        if let Some(at) = self.free.pop() {
            self.nodes[at] = node;
            return at;
        }
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Takes a value out, from its queue too.
    pub(crate) fn remove(&mut self, at: usize) -> Option<T> {
        self.unlink(at);
        let (_, _, value) = self.nodes.get_mut(at)?.take()?;
        self.free.push(at);
        if self.len() == 0 {
            *self = Self::new();
        }
        Some(value)
    }

    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.nodes.get(at)?.as_ref().map(|(_, _, value)| value)
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.nodes.get_mut(at)?.as_mut().map(|(_, _, value)| value)
    }

    pub(crate) fn weight_of(&self, at: usize) -> u64 {
        self.nodes.get(at).and_then(Option::as_ref).map_or(0, |(_, weight, _)| *weight)
    }

    /// Changes the weight of a value that stands in no queue.
    pub(crate) fn set_weight(&mut self, at: usize, weight: u64) {
        if let Some(Some((links, own, _))) = self.nodes.get_mut(at) {
            debug_assert!(links.queue.is_none(), "a queued weight is counted");
            *own = weight;
        }
    }

    pub(crate) fn queue_of(&self, at: usize) -> Option<Queue> {
        self.links(at).and_then(|links| links.queue)
    }

    /// What the values of a queue weigh.
    pub(crate) fn queued_weight(&self, queue: Queue) -> u128 {
        self.ends[queue as usize].weight
    }

    /// The value that has stood in a queue for the longest.
    pub(crate) fn tail(&self, queue: Queue) -> Option<usize> {
        Some(self.ends[queue as usize].tail).filter(|at| *at != NONE)
    }

    /// Puts a value at the head of a queue, out of any other place.
    pub(crate) fn push_head(&mut self, queue: Queue, at: usize) {
        let from = self.detach(at);
        let head = self.ends[queue as usize].head;
        self.attach(at, queue, NONE, head);
        self.weigh_moved(at, from, Some(queue));
    }

    /// Puts a value at the tail of a queue, to be the next to go.
    pub(crate) fn push_tail(&mut self, queue: Queue, at: usize) {
        let from = self.detach(at);
        let tail = self.ends[queue as usize].tail;
        self.attach(at, queue, tail, NONE);
        self.weigh_moved(at, from, Some(queue));
    }

    /// Takes a value out of its queue.
    pub(crate) fn unlink(&mut self, at: usize) {
        let from = self.detach(at);
        self.weigh_moved(at, from, None);
    }

    fn attach(&mut self, at: usize, queue: Queue, before: usize, after: usize) {
        let Some(links) = self.links_mut(at) else { return };
        *links = Links { before, after, queue: Some(queue) };
        match self.links_mut(before) {
            Some(links) => links.after = at,
            None => self.ends[queue as usize].head = at,
        }
        match self.links_mut(after) {
            Some(links) => links.before = at,
            None => self.ends[queue as usize].tail = at,
        }
    }

    /// Gives the queue that the value stood in.
    fn detach(&mut self, at: usize) -> Option<Queue> {
        let links = self.links_mut(at)?;
        let Links { before, after, queue: Some(queue) } = *links else { return None };
        *links = Links { before: NONE, after: NONE, queue: None };
        match self.links_mut(before) {
            Some(links) => links.after = after,
            None => self.ends[queue as usize].head = after,
        }
        match self.links_mut(after) {
            Some(links) => links.before = before,
            None => self.ends[queue as usize].tail = before,
        }
        Some(queue)
    }

    /// Counts the weight of a value in the queue that it stands in now; nothing where that is the same.
    fn weigh_moved(&mut self, at: usize, from: Option<Queue>, to: Option<Queue>) {
        if from == to {
            return;
        }
        let weight = u128::from(self.weight_of(at));
        if let Some(queue) = from {
            self.ends[queue as usize].weight -= weight;
        }
        if let Some(queue) = to {
            self.ends[queue as usize].weight += weight;
        }
    }

    fn links(&self, at: usize) -> Option<&Links> {
        self.nodes.get(at)?.as_ref().map(|(links, _, _)| links)
    }

    fn links_mut(&mut self, at: usize) -> Option<&mut Links> {
        self.nodes.get_mut(at)?.as_mut().map(|(links, _, _)| links)
    }

    /// Where the values are that meet a condition.
    pub(crate) fn matching(&self, is: impl Fn(&T) -> bool) -> Vec<usize> {
        let nodes = self.nodes.iter().enumerate();
        nodes
            .filter(|(_, node)| node.as_ref().is_some_and(|(_, _, value)| is(value)))
            .map(|(at, _)| at)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_keep_their_order_and_weight() {
        let mut lists = Lists::new();
        let [a, b, c] = ["a", "b", "c"].map(|name| lists.add(name, 2));
        for at in [a, b, c] {
            lists.push_head(Queue::Main, at);
        }
        assert_eq!((lists.tail(Queue::Main), lists.queued_weight(Queue::Main)), (Some(a), 6));
        lists.push_head(Queue::Main, a);
        assert_eq!(lists.tail(Queue::Main), Some(b));
        lists.push_tail(Queue::Main, a);
        assert_eq!(lists.tail(Queue::Main), Some(a));
        lists.push_head(Queue::Small, a);
        assert_eq!((lists.queued_weight(Queue::Small), lists.tail(Queue::Main)), (2, Some(b)));
        assert_eq!(lists.remove(c), Some("c"));
        assert_eq!((lists.tail(Queue::Main), lists.queued_weight(Queue::Main)), (Some(b), 2));
        lists.unlink(b);
        assert_eq!((lists.tail(Queue::Main), lists.len()), (None, 2));
        let d = lists.add("d", 1);
        assert_eq!((d, lists.get(d)), (c, Some(&"d")));
    }
}
