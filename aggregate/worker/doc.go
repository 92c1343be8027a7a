// Package worker is the imperative shell around the pure core: it collects the commands of its lanes,
// loads what judging them needs, judges, commits and acknowledges.
//
// # One commit under way, one round open
//
// All that arrives on any lane goes into the open round, judged in memory at once. While a commit is
// under way the round stays open and grows; when the commit is done the round is closed and committed
// as one transaction, and the next one opens. So batches grow with the load, without a timer, and the
// processor judges while the disk writes. What was judged is speculative until it is committed:
//
//	arrivals -> open round -> commit -> observers told -> frames acknowledged
//	                ^           |
//	                +--- undone and judged again, when the commit fails
//
// # When a commit fails
//
// An id that turned out to be known: both rounds are undone, the ids looked up, and the commands judged
// again with the facts. A store that is away: nothing is rejected for it; the worker waits, takes its
// lanes anew, and judges again. An unknown fate: the same, and reading the ids tells what landed. Any
// other error lies in the batch: it is split until the culprit is found, which ends as failed. Where lanes
// are shared out among processes a worker does not take them anew: see [Config.Fenced].
//
// # Orders
//
// An operator's order to reject what is parked comes as a frame on the lane, and is carried out in its place among the
// stream's commands: committed before its frame is acknowledged, and without effect when its command waits no more, as
// when it comes twice. One that cannot be carried out becomes a dead letter.
//
// # Time
//
// Deadlines of parked commands are counted in the working time of their lane, a clock that advances
// only while the worker runs and the store answers, and that each commit saves. What is due is rejected
// only after everything that was queued before has been judged.
package worker
