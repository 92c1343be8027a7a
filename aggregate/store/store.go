// Package store is where outcomes, heads and parked commands live: the interface that the worker commits
// through and readers read through, with its contract. Two backends satisfy it, sqlite and postgres, and
// one suite, storetest, says whether they do.
//
// # What a store promises
//
// A [Batch] is one transaction: all of it is there afterwards, or nothing. Positions are dense, from 1,
// in commit order: whoever reads position N in a store can read every position below N. An id is known
// once: among all outcomes and all parked commands, across streams and lanes. A batch is committed only
// while every lane it names is held at the epoch it names. What was committed survives kill -9 and power
// loss (SQLite synchronous=FULL, Postgres fsync and synchronous_commit on).
//
// # Errors
//
// [ErrFenced], [ErrIDKnown], [ErrUnavailable] and [ErrFateUnknown] are to be matched with errors.Is; any
// other error of Commit says that this batch cannot be stored as it is, and that nothing of it was.
package store

import (
	"context"
	"errors"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

var (
	// ErrFenced: a lane of the batch has been acquired by somebody else, or the batch does not follow its
	// streams as they are stored; nothing was committed. Acquire the lanes again and load anew.
	ErrFenced = errors.New("lane was taken over")
	// ErrIDKnown: an id that the batch takes for fresh is known already; nothing was committed.
	ErrIDKnown = errors.New("command id is known already")
	// ErrUnavailable: the store cannot be reached or is out of space; nothing was committed. Try again.
	ErrUnavailable = errors.New("store is unavailable")
	// ErrFateUnknown: the connection broke while committing, so the batch may have been committed.
	// Acquire the lanes again, which waits for or fences whatever is still under way, then look the ids
	// up: reading, never guessing.
	ErrFateUnknown = errors.New("fate of the commit is unknown")
	// ErrSchema: the schema is older or newer than this program, or holds another number of lanes; the
	// message says which and what to do.
	ErrSchema = errors.New("schema does not fit this program")
	// ErrNotKept: what is asked for lies above the head.
	ErrNotKept = errors.New("beyond the head")
)

// Store is a whole backend. All methods may be called from many goroutines at once; Commit by one at a
// time for each set of lanes.
type Store interface {
	Lanes
	Reader
	DeadLetters
	Replies

	// Identity tells the epoch of the log and the number of lanes it was made with.
	Identity() Identity
	// Ping tells whether the store answers, within the context's time.
	Ping(ctx context.Context) error
	// Close gives back what the store holds. It waits for a commit under way.
	Close() error
}

// Identity names one log history.
type Identity struct {
	Epoch string // changes when a log is restored or reset; letters and digits
	Lanes int
}

// Lanes is the writing half, used by workers.
type Lanes interface {
	// Acquire takes lanes over: it bumps the epoch of each, after waiting for commits under way on
	// them, and returns the claims in the order asked. From then on no older claim commits.
	Acquire(ctx context.Context, lanes []int, owner string) ([]Claim, error)

	// Backlog lists what is parked on the lanes, without payloads, in order of parking.
	Backlog(ctx context.Context, lanes []int) ([]Parked, error)

	// Load reads what the worker needs to judge commands of these streams, in the order asked. A stream
	// of which nothing is known is a Record at version 0.
	Load(ctx context.Context, streams []commands.Stream) ([]*Record, error)

	// Lookup tells what is known of the ids, in the order asked, wherever they were met. An id of which
	// nothing is known is a Fact with standing Unheard.
	Lookup(ctx context.Context, ids []commands.ID) ([]aggregate.Fact, error)

	// Commit makes a batch durable. It sets the position of every outcome and of every changed head,
	// counting up in the order of batch.Outcomes, and returns the positions the batch covers. On any
	// error the records and handles of the batch must no longer be used: load them again.
	Commit(ctx context.Context, batch *Batch) (Range, error)

	// SaveRelayed notes how far the log of lanes has been passed on, by the claims' Relayed, which only ever
	// rises. Of the claims it takes those that hold their lane still; when that is not all of them it is
	// ErrFenced. It may run beside commits, and keeps none waiting for long.
	SaveRelayed(ctx context.Context, claims []Claim) error
}

// Claim is the right to commit on one lane.
type Claim struct {
	Lane  int
	Epoch uint64
	// Worked is the lane's clock: how long it has been worked in all its life. Deadlines of parked
	// commands are counted by it, so that an outage expires nothing. A commit saves it.
	Worked time.Duration
	// Relayed is how far the lane's outcomes have been passed on to other services: all of them at or below
	// this position, some perhaps beyond. It is 0 in a new store, and the end of the log, as it was then, in
	// one from before anything was passed on. SaveRelayed saves it; a commit does not look at it.
	Relayed uint64
}

// Handle is what a backend remembers with a stream while a worker holds it. The worker passes it from
// Load into each Batch and never looks inside; Commit may change it.
type Handle struct{ Value any }

// Record is one stream as stored.
type Record struct {
	Stream commands.Stream
	Head   aggregate.Head
	// State is the fold of the events up to StateVersion, as the type encoded it; nil before the first
	// event. Tail holds the events after it, up to Head.Version.
	State        []byte
	StateVersion uint64
	Tail         []commands.Event
	// Waiting are the parked commands of the stream in the order of parking (Load only).
	Waiting []*aggregate.Waiting
	Handle  *Handle
}

// Parked is a parked command as the sweeper sees it.
type Parked struct {
	ID       commands.ID
	Stream   commands.Stream
	Session  string
	Deadline time.Duration
}

// Batch is one transaction's worth of verdicts. Every slice may be empty.
type Batch struct {
	// Claims are checked, and their clocks saved. A batch without claims is refused.
	Claims []Claim
	// Outcomes are appended to the log in this order. Those that were parked before are in Unpark too.
	Outcomes []*commands.Outcome
	// Heads are the streams on which something landed.
	Heads []*HeadChange
	// Park, Extend and Unpark change the parking lot. An id in Park is fresh. Extend moves deadlines.
	Park   []*aggregate.Waiting
	Extend []*aggregate.Waiting
	Unpark []commands.ID
	// Dead are commands whose aggregate code broke, kept with the cause.
	Dead []DeadLetter
	// Asks are requesters to be answered. A batch may consist of them alone, and claims.
	Asks []Ask
}

// HeadChange is a stream's head after a batch.
type HeadChange struct {
	Stream commands.Stream
	// Head is as it is after the batch; its Position is filled in by Commit.
	Head aggregate.Head
	// State, when not nil, replaces the stored state and is that of version StateVersion. When it is
	// nil the stored one stays, and readers fold the events after it. The store may keep the bytes, so
	// they must not change any more. As a state is no more than what the events fold to, a store that
	// crashed may come back with an older one and a longer tail.
	State        []byte
	StateVersion uint64
	// Snapshot asks to keep State for reads as of a version too.
	Snapshot bool
	Handle   *Handle
}

// Range is the positions a batch covers, both inclusive; First is Last+1 when it has no outcomes.
type Range struct{ First, Last uint64 }

// Reader is the reading half. What one commit made visible to one reader is visible to all. Reads never
// wait for a commit.
type Reader interface {
	// Head reads one stream without its parked commands; ok is false when nothing is known of it.
	Head(ctx context.Context, stream commands.Stream) (record *Record, ok bool, err error)

	// StateBefore reads the newest kept state at or below the version: the point to fold from. The
	// zero Snapshot is the initial state at version 0. A version above the head is ErrNotKept.
	StateBefore(ctx context.Context, stream commands.Stream, version uint64) (Snapshot, error)

	// Changes reads the changelog of a stream: events with versions above after, oldest first, limit at
	// most. After a version above the head it is ErrNotKept.
	Changes(ctx context.Context, stream commands.Stream, after uint64, limit int) ([]Change, error)

	// Status tells where commands stand, in the order asked.
	Status(ctx context.Context, ids []commands.ID) ([]CommandStatus, error)

	// WaitingOf tells which commands of these sessions are parked, in order of parking, limit at most: all of
	// one moment. Of Waiting it fills in id, stream, ticket and session, and when it was parked and is due; Until
	// as by Status. Payloads are not read, however large, and next to nothing is spent on sessions without
	// parked commands, as many clients ask this when they connect. The empty session, which stands for none at
	// all, has none.
	WaitingOf(ctx context.Context, sessions []string, limit int) ([]CommandStatus, error)

	// Lookup is that of Lanes.
	Lookup(ctx context.Context, ids []commands.ID) ([]aggregate.Fact, error)

	// Log reads outcomes with positions above after, in order, limit at most. After a position above
	// the newest it is ErrNotKept.
	Log(ctx context.Context, after uint64, limit int) ([]*commands.Outcome, error)

	// End is the position of the newest outcome; 0 for an empty log.
	End(ctx context.Context) (uint64, error)

	ParkedList
}

// Snapshot is a stream's state as of a version.
type Snapshot struct {
	Version uint64
	State   []byte // nil: the initial state
}

// Change is one entry of a stream's changelog.
type Change struct {
	Version  uint64
	Position uint64
	Event    commands.Event
	Command  commands.ID
	Type     string // of the command
	Actor    string
	ByAny    bool // the command was let in by policy any, its ticket unchecked
	At       time.Time
}

// View is what is told of the change, in the log of an epoch.
func (c *Change) View(epoch string) commands.ChangeView {
	return commands.ChangeView{
		Version: c.Version, Position: commands.Position{Epoch: epoch, N: c.Position}, Type: c.Event.Type, Data: c.Event.Data,
		Command: commands.ActorView{ID: c.Command, Type: c.Type, Actor: c.Actor, Override: c.ByAny}, At: c.At,
	}
}

// AppendChanges appends the changes that a landing made, with versions above after, up to limit in all.
func AppendChanges(changes []Change, o *commands.Outcome, after uint64, limit int) []Change {
	for i := range o.Events {
		if version := o.FirstVersion() + uint64(i); version > after && len(changes) < limit {
			changes = append(changes, Change{Version: version, Position: o.Position, Event: o.Events[i], Command: o.ID, Type: o.Type,
				Actor: o.Actor, ByAny: o.Policy == commands.PolicyAny, At: o.At})
		}
	}
	return changes
}

// CommandStatus is where one command stands: an outcome, a place in the parking lot, or nothing known.
type CommandStatus struct {
	ID      commands.ID
	Outcome *commands.Outcome  // settled, with its events
	Waiting *aggregate.Waiting // parked; by Status with its Data
	// Until is when a parked command expires by the wall clock if its lane is worked from now on.
	Until time.Time
}
