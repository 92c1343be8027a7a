package feed

import (
	"context"
	"fmt"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/ticketed/doorman/commands"
)

// tail is the newest outcomes, without a hole.
type tail struct {
	most  int // bytes
	bytes int
	from  uint64 // the position before the oldest one kept
	ring  []*commands.Outcome
	count int
}

// maxTail is how many outcomes the tail has room for.
const maxTail = 1 << 15

func (t *tail) restart(end uint64) {
	t.ring = make([]*commands.Outcome, maxTail)
	t.begin(end)
}

// begin lets go what is kept: what comes next comes after the position.
func (t *tail) begin(end uint64) {
	for i := range t.count {
		t.ring[(t.from+1+uint64(i))%maxTail] = nil
	}
	t.from, t.count, t.bytes = end, 0, 0
}

func (t *tail) add(o *commands.Outcome) {
	for t.count > 0 && (t.count == maxTail || t.bytes+weight(o) > t.most) {
		at := (t.from + 1) % maxTail
		t.bytes -= weight(t.ring[at])
		t.ring[at] = nil
		t.from++
		t.count--
	}
	t.ring[(t.from+uint64(t.count)+1)%maxTail] = o
	t.count++
	t.bytes += weight(o)
}

// after lists what is kept above a position; held is false when something there is not kept.
func (t *tail) after(position uint64, limit int) (kept []*commands.Outcome, held bool) {
	if position < t.from {
		return nil, false
	}
	skip := position - t.from
	if skip >= uint64(t.count) {
		return nil, true
	}
	n := min(t.count-int(skip), limit)
	kept = make([]*commands.Outcome, n)
	for i := range kept {
		kept[i] = t.ring[(position+1+uint64(i))%maxTail]
	}
	return kept, true
}

// weight is about how many bytes an outcome keeps in memory.
func weight(o *commands.Outcome) int {
	const itself = 500
	bytes := itself + len(o.Detail) + len(o.Refusal) + len(o.Stream.ID) + len(o.Type) + len(o.Session) + len(o.Actor) +
		len(o.ReplyTo) + len(o.CorrelationID) + len(o.TraceParent)
	for i := range o.Events {
		bytes += 60 + len(o.Events[i].Data)
	}
	return bytes
}

// heft is about how many bytes a commit keeps in memory.
func heft(c *Commit) int {
	const itself, parked, answer = 300, 500, 250
	bytes := itself + answer*len(c.Answers)
	for _, o := range c.Outcomes {
		bytes += weight(o)
	}
	for _, state := range c.States {
		bytes += 24 + len(state)
	}
	for _, w := range c.Park {
		bytes += parked + len(w.Data)
	}
	for _, w := range c.Extend {
		bytes += parked + len(w.Data)
	}
	return bytes
}

// pages keeps parts of the log that were read last. Only full ones are kept: those do not change.
type pages struct {
	reader Reader
	most   int // bytes

	mu    sync.Mutex
	bytes int
	byNo  *simplelru.LRU[uint64, *page]
}

// page is one part of the log. It is read by whoever asks first; the others wait for that.
type page struct {
	read     chan struct{} // closed once it has been read
	outcomes []*commands.Outcome
	err      error
	bytes    int // 0 until it has been read
}

// pageSize is how many outcomes there are on a page.
const pageSize = 256

func (p *pages) init(reader Reader, most int) {
	p.reader, p.most = reader, most
	p.byNo, _ = simplelru.NewLRU[uint64, *page](1<<20, nil) // bounded by bytes
}

func (p *pages) read(ctx context.Context, after uint64, limit int) ([]*commands.Outcome, error) {
	number := after / pageSize
	p.mu.Lock()
	wanted, known := p.byNo.Get(number)
	if !known {
		wanted = &page{read: make(chan struct{})}
		p.byNo.Add(number, wanted)
	}
	p.mu.Unlock()
	if !known {
		p.load(ctx, number, wanted)
	}
	select {
	case <-wanted.read:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if wanted.err != nil {
		if known && ctx.Err() == nil { // it was another one's failure, perhaps its context's
			return p.fresh(ctx, after, limit)
		}
		return nil, wanted.err
	}
	rest := wanted.outcomes[min(int(after%pageSize), len(wanted.outcomes)):] //nolint:gosec // pageSize is small
	if known && len(rest) == 0 {
		// That reading began before this one was asked for. What it found to be the end need not be the end.
		return p.fresh(ctx, after, limit)
	}
	return rest[:min(limit, len(rest)):min(limit, len(rest))], nil
}

// load reads a page for everybody who waits for it, and lets older ones go.
func (p *pages) load(ctx context.Context, number uint64, into *page) {
	into.outcomes, into.err = p.fresh(ctx, number*pageSize, pageSize)
	weighs := 0
	for _, o := range into.outcomes {
		weighs += weight(o)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer close(into.read)
	if held, _ := p.byNo.Peek(number); held != into {
		return // let go already
	}
	if into.err != nil || len(into.outcomes) < pageSize {
		p.byNo.Remove(number)
		return
	}
	into.bytes = weighs
	p.bytes += weighs
	for p.bytes > p.most && p.byNo.Len() > 1 {
		_, oldest, _ := p.byNo.RemoveOldest()
		p.bytes -= oldest.bytes
	}
}

func (p *pages) fresh(ctx context.Context, after uint64, limit int) ([]*commands.Outcome, error) {
	outcomes, err := p.reader.Log(ctx, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read the log after %d: %w", after, err)
	}
	return outcomes, nil
}
