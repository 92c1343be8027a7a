package rabbitmq

import "sync"

// purse is the room for messages that were handed on and are not settled, in bytes.
type purse struct {
	mu      sync.Mutex
	changed *sync.Cond
	most    int64
	held    int64
	turn    int  // counts the consumers that had it
	closed  bool // nobody looks at what comes
}

func newPurse(most int64) *purse {
	p := &purse{most: most, closed: true}
	p.changed = sync.NewCond(&p.mu)
	return p
}

// begin empties it for the next consumer, and gives the consumer's number.
func (p *purse) begin() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held, p.closed = 0, false
	p.turn++
	return p.turn
}

// take waits until there is room for a message of which so many bytes are kept; there always is for one. It tells
// whether it had to wait, and whether anybody wants the message.
func (p *purse) take(kept int64) (waited, wanted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closed && p.held > 0 && p.held+kept+messageCost > p.most {
		waited = true
		p.changed.Wait()
	}
	p.held += kept + messageCost
	return waited, !p.closed
}

// give takes back what a consumer's message took.
func (p *purse) give(turn int, kept int64) {
	p.mu.Lock()
	if turn == p.turn {
		p.held -= kept + messageCost
		p.changed.Broadcast()
	}
	p.mu.Unlock()
}

// shut lets everything through from now on, with nothing in it.
func (p *purse) shut() {
	p.mu.Lock()
	p.closed = true
	p.changed.Broadcast()
	p.mu.Unlock()
}

func (p *purse) bytes() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return 0
	}
	return p.held
}
