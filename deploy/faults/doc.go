// Package faults holds the tests of what a deployment of several processes promises while everything that can
// break does: two gateways and two workers over a Postgres and a RabbitMQ of their own, under a load of 200
// commands a second, some out of order, sent twice or stale, with readers that watch over SSE. It has no code to
// use.
//
// A round is one load under which one kind of fault happens a few times, and an audit of everything that was sent
// in it. A fault strikes, is over, and something must land again in time:
//
//	worker killed with kill -9, gateway killed             5 s, on each of the lanes it had
//	worker frozen for longer than its lease                15 s, while it is frozen
//	Postgres crashed, or away for a minute                 15 s after it is back
//	RabbitMQ restarted, killed, out of memory              15 s after it is back
//	connections cut, gone dead, replies lost               15 s
//
// Before each, at least 100 commands land within a second, or the round fails: none passes by doing nothing. The
// audit then reads the log from the database and everything else through the API, and holds it against DESIGN
// section 5 by accounts of its own: what was accepted has exactly one outcome, versions and tickets of each stream
// form one path, states are folds, nothing has expired but what was meant to, readers were told each landing and
// sessions each outcome, and what was published is what has committed.
//
// # Running it
//
// `make test` has each kind of fault once, a few times over. `make soak` goes on for an hour with kinds and
// numbers at random, or for as long as it is told:
//
//	make soak
//	make soak DURATION=8h
//	make soak DURATION=10m FAULT=kill_broker     one kind alone
//	make soak SEED=2449096472 FROM=17            from that round of that schedule on
//
// It prints its seed, each fault as it strikes, how soon it went on, and in the end a table of all kinds. What a
// seed replays is the schedule and the shape of the load, not the moment at which a process was at which
// instruction; a failure that does not come again at once comes again with FROM and some DURATION.
//
// # Reading a failure
//
// Each thing found is one line that names command, stream and position. The history of a round that failed is
// kept, in a folder of .cache/faults named by seed, round and kind:
//
//	story.txt        what happened when, and what was found
//	commands.jsonl   each command in the order of making, with its lane and every answer to it
//	log.jsonl        the log as it grew, by position, with the moment at which each row was seen
//	outcomes.jsonl   the same, as the API tells it
//	readers.jsonl    what each reader was told of streams (positions) and of its own commands (in words)
//	published.jsonl  what came to the exchanges doorman.events and doorman.outcomes
//	*.log            what processes, database and broker said
//
// Begin with a command that the story names: its line in commands.jsonl says who accepted it when, its ticket leads
// to the one before, and its lane to whoever worked it then. After a failure the next round has a new deployment;
// after five the soak ends.
package faults
