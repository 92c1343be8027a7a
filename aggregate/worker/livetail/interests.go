package livetail

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/ticketed/doorman/commands"
)

// key stands for a stream, a session or a command that is of interest.
type key uint64

// FNV-1a of 64 bits: the same in every process.
const (
	fnvOffset uint64 = 14695981039346656037
	fnvPrime  uint64 = 1099511628211
)

// What the hashes of streams and of sessions begin with, so that one is not taken for the other.
const (
	ofStream  = fnvOffset ^ 's'
	ofSession = fnvOffset ^ 'c'
)

func hashText(h uint64, text string) uint64 {
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * fnvPrime
	}
	return (h ^ 0xff) * fnvPrime // 0xff is in no UTF-8: where the text ends
}

func streamKey(s commands.Stream) key {
	return key(hashText(hashText(hashText(ofStream, s.Tenant), s.Type), s.ID))
}

func sessionKey(session string) key {
	return key(hashText(ofSession, session))
}

// commandKey is made of the bytes of an id that are random in every version of UUID that clients make.
func commandKey(id commands.ID) key {
	return key(binary.BigEndian.Uint64(id[:8])*fnvPrime ^ binary.BigEndian.Uint64(id[8:]))
}

// Interests are what a gateway wants to be told of. All methods may be called from many goroutines. A change
// counts from the moment that the method returns: see [Interests.Lacks].
type Interests struct {
	version  atomic.Uint64
	expected atomic.Int64 // commands sent from here that somebody waits for
	expects  atomic.Bool  // whether the outcomes of commands sent from here are wanted

	mu         sync.Mutex
	counts     map[key]int
	changed    map[key]struct{} // since they were told last
	everything bool
	flags      bool // everything or expects have changed since
	idle       int  // rounds without anything expected
	wake       chan struct{}
}

// NewInterests makes those of a gateway that wants nothing yet.
func NewInterests() *Interests {
	return &Interests{counts: map[key]int{}, changed: map[key]struct{}{}, wake: make(chan struct{}, 1)}
}

// Everything wants every outcome from now on, for a process that keeps projections.
func (i *Interests) Everything() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.everything, i.flags = true, true
	i.bump()
}

// WatchStream wants landings on a stream, with their states, until UnwatchStream.
func (i *Interests) WatchStream(s commands.Stream) { i.add(streamKey(s)) }

// UnwatchStream ends one WatchStream.
func (i *Interests) UnwatchStream(s commands.Stream) { i.remove(streamKey(s)) }

// WatchSession wants the outcomes of a session's commands, and to hear when they are parked.
func (i *Interests) WatchSession(session string) { i.add(sessionKey(session)) }

// UnwatchSession ends one WatchSession.
func (i *Interests) UnwatchSession(session string) { i.remove(sessionKey(session)) }

// WatchCommand wants one command's outcome.
func (i *Interests) WatchCommand(id commands.ID) { i.add(commandKey(id)) }

// UnwatchCommand ends one WatchCommand.
func (i *Interests) UnwatchCommand(id commands.ID) { i.remove(commandKey(id)) }

// Expect changes how many commands that are sent from here are waited for: their outcomes come without being
// named one by one.
func (i *Interests) Expect(more int) {
	if i.expected.Add(int64(more)) <= 0 || i.expects.Load() {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.expect(true)
}

// expect is called with the lock held.
func (i *Interests) expect(whether bool) {
	if i.expects.Swap(whether) != whether {
		i.flags = true
		i.bump()
	}
}

// rest is called now and then: when nothing has been expected for a while, nothing is wanted of it.
func (i *Interests) rest() {
	const rounds = 2
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.expected.Load() > 0 {
		i.idle = 0
		return
	}
	if i.idle++; i.idle < rounds {
		return
	}
	i.expect(false)
	if i.expected.Load() > 0 { // somebody came who saw that it was wanted already
		i.expect(true)
	}
}

// Lacks tells whether something is wanted that was not yet at a version.
func (i *Interests) Lacks(version uint64) bool { return version < i.version.Load() }

func (i *Interests) add(k key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.counts[k]++; i.counts[k] == 1 {
		i.changed[k] = struct{}{}
		i.bump()
	}
}

// remove ends one add. It raises no version: what came of more than is wanted lacks nothing.
func (i *Interests) remove(k key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.counts[k]--; i.counts[k] == 0 {
		delete(i.counts, k)
		i.changed[k] = struct{}{}
		i.signal()
	}
}

// bump is called with the lock held.
func (i *Interests) bump() {
	i.version.Add(1)
	i.signal()
}

func (i *Interests) signal() {
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

// change is what has become of the interests since they were told last; or all of them.
func (i *Interests) change(whole bool) (c interest, news bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	news = whole || i.flags || len(i.changed) > 0
	c = interest{whole: whole, version: i.version.Load(), everything: i.everything, expects: i.expects.Load()}
	if whole {
		c.added = make([]key, 0, len(i.counts))
		for k := range i.counts {
			c.added = append(c.added, k)
		}
	} else {
		for k := range i.changed {
			if i.counts[k] > 0 {
				c.added = append(c.added, k)
			} else {
				c.removed = append(c.removed, k)
			}
		}
	}
	clear(i.changed)
	i.flags = false
	return c, news
}
