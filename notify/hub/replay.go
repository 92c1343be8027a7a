package hub

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// replay keeps landings that were told from the log last, with their states and texts, so that many
// connections that resume at once cost one folding.
type replay struct {
	mu         sync.Mutex
	bytes      int
	byPosition *simplelru.LRU[uint64, *landing]
}

// mostReplayed bounds what is kept, texts included.
const mostReplayed = 16 << 20

func newReplay() replay {
	byPosition, _ := simplelru.NewLRU[uint64, *landing](1<<20, nil) // bounded by bytes
	return replay{byPosition: byPosition}
}

func (r *replay) get(position uint64) (*landing, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byPosition.Get(position)
}

func (r *replay) add(l *landing) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byPosition.Contains(l.outcome.Position) {
		return
	}
	r.byPosition.Add(l.outcome.Position, l)
	r.bytes += replayed(l)
	for r.bytes > mostReplayed && r.byPosition.Len() > 1 {
		_, oldest, _ := r.byPosition.RemoveOldest()
		r.bytes -= replayed(oldest)
	}
}

// replayed is what a landing costs with its text, which has the state and the events once more.
func replayed(l *landing) int { return 400 + 2*l.size() }
