package aggregate

import (
	"time"

	"github.com/ticketed/doorman/commands"
)

// Head is what the ticket rules know of a stream: the action that landed last and what it left behind.
type Head struct {
	Version  uint64      // the stream's event count
	Action   commands.ID // the action that landed last; None when nothing has
	Position uint64      // that action's place in the log; 0 when nothing has landed
	At       time.Time   // when it landed
	Session  string      // whose it was
	ByAny    bool        // it was let in by policy any
}

// Ticket is the one to send next: the head action, or genesis while nothing has landed.
func (h *Head) Ticket() commands.ID {
	if h.Action == commands.None {
		return commands.Genesis
	}
	return h.Action
}

// Standing says what is known of an id.
type Standing uint8

// The standings of an id.
const (
	Unheard  Standing = iota // nothing is known of it
	Parked                   // it waits for its predecessor
	Landed                   // it is an action
	Rejected                 // it was turned away
)

// Fact is what is known of one command id, wherever it was met.
type Fact struct {
	Standing   Standing
	Stream     commands.Stream
	Hash       commands.Hash   // of its payload
	Version    uint64          // Landed: the stream's version after it
	Ticket     commands.ID     // Rejected: the ticket it came with
	Root       commands.ID     // Rejected: where its cascade began
	RootReason commands.Reason // Rejected: why
}

// Own says how a command's own id relates to what is known of that id.
type Own uint8

// The answers to "is this command new?".
const (
	OwnFresh     Own = iota // nothing is known of the id
	OwnSame                 // the same command was taken before
	OwnDifferent            // another command has this id
)

// Room says whether there is room to park one more.
type Room uint8

// The bounds of the parking lot, the nearest first.
const (
	RoomFree Room = iota
	RoomStreamFull
	RoomSessionFull
	RoomServerFull
)

// Question is everything one verdict depends on.
type Question struct {
	ID      commands.ID
	Ticket  commands.ID // None is allowed under PolicyAny only
	Policy  commands.Policy
	Session string
	Now     time.Time
	Window  time.Duration // how long a session keeps its privilege under PolicySession

	Own    Own
	Head   Head
	Named  Fact // what the ticket names on this stream; Unheard for genesis and for other streams' ids
	Closes bool // parking it would close a loop of waiting commands
	Room   Room
}

// Ruling is what is to be done with a command.
type Ruling uint8

// The rulings.
const (
	Admit    Ruling = iota // let it in
	Park                   // hold it until its predecessor is settled
	Reject                 // turn it away, Reason says why
	Repeat                 // tell the earlier outcome again
	Conflict               // tell this sender that the id is taken
)

// Verdict is the answer to a [Question].
type Verdict struct {
	Ruling     Ruling
	Reason     commands.Reason // of Reject
	Root       commands.ID     // of Reject: where the cascade began, the command itself when it is the root
	RootReason commands.Reason
}

// Judge applies the ticket rules of DESIGN section 2. It is a pure function: no I/O, and the time is in
// the question. The rows of the rule tables are taken top down.
func Judge(q *Question) Verdict {
	switch q.Own {
	case OwnSame:
		return Verdict{Ruling: Repeat}
	case OwnDifferent:
		return Verdict{Ruling: Conflict}
	}
	switch q.Policy {
	case commands.PolicyAny:
		return Verdict{Ruling: Admit}
	case commands.PolicyStrict:
		if q.ticketValid() {
			return Verdict{Ruling: Admit}
		}
		return q.reject(commands.TicketNotCurrent)
	case commands.PolicySession:
		if q.privileged() && q.Named.Standing != Rejected {
			return Verdict{Ruling: Admit}
		}
	}
	return q.byTicket()
}

func (q *Question) byTicket() Verdict {
	switch {
	case q.Ticket == q.ID:
		return q.reject(commands.SelfTicket)
	case q.ticketValid():
		return Verdict{Ruling: Admit}
	case q.Ticket == commands.Genesis, q.Named.Standing == Landed:
		return q.reject(commands.StaleTicket)
	case q.Named.Standing == Rejected:
		return Verdict{Ruling: Reject, Reason: commands.PredecessorRejected, Root: q.Named.Root, RootReason: q.Named.RootReason}
	case q.Closes:
		return q.reject(commands.TicketCycle)
	case q.Room != RoomFree:
		return q.reject(commands.ParkingFull)
	}
	return Verdict{Ruling: Park}
}

// ticketValid: a ticket is valid when no event followed the action it names, and genesis while there is
// no event at all.
func (q *Question) ticketValid() bool {
	if q.Ticket == commands.Genesis {
		return q.Head.Version == 0
	}
	return q.Named.Standing == Landed && q.Named.Version == q.Head.Version
}

// privileged: the last action landed from the same session within the window, and its own ticket was
// checked, so this session has seen what it acts on.
func (q *Question) privileged() bool {
	return q.Session != "" && q.Session == q.Head.Session && !q.Head.ByAny &&
		q.Head.Action != commands.None && q.Now.Sub(q.Head.At) <= q.Window
}

func (q *Question) reject(reason commands.Reason) Verdict {
	return Verdict{Ruling: Reject, Reason: reason, Root: q.ID, RootReason: reason}
}
