package worker

import (
	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// held is a stream in the worker's memory.
type held struct {
	*aggregate.Instance
	handle  *store.Handle
	lane    *lane
	sitting uint64         // the last one that touched it; it must stay in memory until that is committed
	stored  aggregate.Head // as committed or being committed
	cost    int            // bytes counted for it
	blocked bool           // its commands wait for facts in the pass under way
}

// cache holds the streams that were used last. What an uncommitted sitting touched is never let go:
// the store does not know of it yet.
type cache struct {
	streams  *simplelru.LRU[commands.Stream, *held]
	bytes    int
	maxBytes int
	maxCount int
}

func newCache(count, bytes int) *cache {
	// The bound given to the list is never reached: letting go is decided here, sitting by sitting.
	streams, _ := simplelru.NewLRU[commands.Stream, *held](1<<31-1, nil)
	return &cache{streams: streams, maxBytes: bytes, maxCount: count}
}

func (c *cache) get(stream commands.Stream) (*held, bool) { return c.streams.Get(stream) }

func (c *cache) put(h *held) {
	c.streams.Add(h.Stream, h)
	c.weigh(h)
}

// weigh counts an entry anew after it changed.
func (c *cache) weigh(h *held) {
	const overhead = 600 // of the entry, its instance and a decoded state's headers
	cost := overhead + 2*len(h.State()) + h.ParkedBytes()
	c.bytes += cost - h.cost
	h.cost = cost
}

func (c *cache) drop(h *held) {
	if c.streams.Remove(h.Stream) {
		c.bytes -= h.cost
	}
}

// trim lets go of the streams used longest ago that are committed up to the sitting and have nothing left
// over. The others are in use, and are passed over, so many at a time.
func (c *cache) trim(committed uint64) {
	const most = 256
	for inUse := 0; inUse < most && (c.bytes > c.maxBytes || c.streams.Len() > c.maxCount); {
		name, oldest, ok := c.streams.GetOldest()
		switch {
		case !ok:
			return
		case oldest.Pending() || oldest.sitting > committed:
			c.streams.Get(name) // which makes it the newest
			inUse++
		default:
			c.drop(oldest)
		}
	}
}

// facts is what is known of ids: what became of recent ones, committed or not, and what was looked up
// for the sitting under way.
type facts struct {
	looked map[commands.ID]aggregate.Fact

	recent []learned // a ring; what is learned anew or forgotten leaves its old place empty
	most   int       // places of the ring
	next   int       // the place to be used next, once there are most
	places map[commands.ID]int
}

type learned struct {
	id   commands.ID
	fact aggregate.Fact
}

var _ aggregate.Facts = (*facts)(nil)

func newFacts(most int) *facts {
	return &facts{looked: map[commands.ID]aggregate.Fact{}, most: most, places: map[commands.ID]int{}}
}

// Fact prefers what was judged here over what was read: a reading may be older than a round whose
// commit is under way.
func (f *facts) Fact(id commands.ID) (aggregate.Fact, bool) {
	if place, ok := f.places[id]; ok {
		return f.recent[place].fact, true
	}
	fact, ok := f.looked[id]
	return fact, ok
}

// Learn records what became of an id.
func (f *facts) Learn(id commands.ID, fact aggregate.Fact) {
	f.forget(id)
	if len(f.recent) < f.most {
		f.places[id] = len(f.recent)
		f.recent = append(f.recent, learned{id, fact})
		return
	}
	delete(f.places, f.recent[f.next].id)
	f.recent[f.next] = learned{id, fact}
	f.places[id] = f.next
	f.next = (f.next + 1) % f.most
}

// forget takes back what an undone round came to.
func (f *facts) forget(id commands.ID) {
	if place, ok := f.places[id]; ok {
		f.recent[place] = learned{}
		delete(f.places, id)
	}
}
