package load

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/ticketed/doorman/commands"
)

// item is one command to send. What it looks like follows from these few fields, so that it can be sent
// again as it was.
type item struct {
	id, ticket commands.ID
	n          uint32 // goes into the data, so that no two commands of a stream are equal
	first      bool   // on its stream
	again      bool   // was sent before

	place   uint32      // in its stream's chain: the version that it lands at
	watched bool        // sent before its predecessor, from a session that is told of it
	frees   commands.ID // the watched command that waits for this one; None: there is none
}

// kind of command; it is written into the id, which the check reads back.
type kind uint8

const (
	chained kind = iota // in its stream's chain: lands
	stale               // beside the chain, with a superseded ticket: is rejected
)

// Ids are UUIDs of version 7 whose random part names the stream and the kind, so that 16 bytes are all
// that must be kept of a command:
//
//	rand_b: 2 bits variant, 38 bits random, 2 bits kind, 22 bits stream
const (
	streamBits = 22
	kindBits   = 2
)

func newID(now time.Time, random uint64, stream int, k kind) commands.ID {
	var id commands.ID
	nanos := now.UnixNano()
	ms, rest := nanos/1e6, nanos%1e6
	binary.BigEndian.PutUint64(id[0:8], uint64(ms)<<16|0x7000|uint64(rest*4096/1e6))
	tail := random<<(streamBits+kindBits) | uint64(k)<<streamBits | uint64(stream)
	binary.BigEndian.PutUint64(id[8:16], tail&(1<<62-1)|1<<63)
	return id
}

func streamOf(id commands.ID) int {
	return int(binary.BigEndian.Uint64(id[8:16]) & (1<<streamBits - 1))
}

func kindOf(id commands.ID) kind {
	return kind(binary.BigEndian.Uint64(id[8:16]) >> streamBits & (1<<kindBits - 1))
}

// idLog keeps every id in the order in which it was made; along a chain that is the order of landing.
type idLog struct {
	blocks [][]commands.ID
	n      int
}

const idBlock = 1 << 16

func (l *idLog) add(id commands.ID) {
	if l.n%idBlock == 0 {
		l.blocks = append(l.blocks, make([]commands.ID, 0, idBlock))
	}
	last := &l.blocks[len(l.blocks)-1]
	*last = append(*last, id)
	l.n++
}

// slice gives the ids from i on, size at most; fewer at the end of a block.
func (l *idLog) slice(i, size int) []commands.ID {
	block, at := l.blocks[i/idBlock], i%idBlock
	return block[at:min(at+size, len(block))]
}

// chain is what one stream's chain has come to.
type chain struct {
	last       commands.ID // to be the next ticket
	superseded commands.ID // a ticket that events are known to have followed; None while there is none
	held       item        // to be sent when the stream's turn comes again, its successor is out already
	n          uint32
	links      uint32 // how many commands it has
	started    bool
	holds      bool
}

// plan decides what is sent next. It does no I/O; the time is an argument.
type plan struct {
	cfg    *Config
	rng    *rand.Rand // choices, by the seed
	chains []chain
	log    idLog
	held   int // how many chains hold a command back
	early  int // commands sent before their predecessor
	stales int // commands sent with a superseded ticket

	staleChance, pairChance float64 // of a turn
}

func newPlan(cfg *Config) *plan {
	p := &plan{
		cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, cfg.Seed)), chains: make([]chain, cfg.chains()),
	}
	// A turn makes one command, or two of which one is early: 1/(1-OutOfOrder) of them on average. It makes
	// two only when it is neither stale nor waited for.
	perTurn := 1 / (1 - cfg.OutOfOrder)
	p.staleChance = min(cfg.Stale*perTurn, 1)
	p.pairChance = cfg.OutOfOrder * perTurn / max((1-p.staleChance)*(1-cfg.WaitShare), 0.01)
	for i := range p.chains {
		p.chains[i].last = commands.Genesis
	}
	return p
}

func (p *plan) chance(share float64) bool { return share > 0 && p.rng.Float64() < share }

// next makes the command of a stream whose turn it is. When it is waited for, nothing is sent that its
// own successor or predecessor would have to follow before it is answered.
func (p *plan) next(stream int, now time.Time, waited bool) item {
	c := &p.chains[stream]
	switch {
	case c.holds:
		c.holds = false
		p.held--
		return c.held
	case c.superseded != commands.None && p.chance(p.staleChance):
		p.stales++
		c.n++
		it := item{id: p.newID(now, stream, stale), ticket: c.superseded, n: c.n}
		return it
	case c.started && !waited && p.chance(p.pairChance):
		c.held = p.link(c, stream, now)
		c.holds = true
		p.held++
		p.early++
		it := p.link(c, stream, now)
		if p.chance(p.cfg.WatchParked) {
			it.watched, c.held.frees = true, it.id
		}
		return it
	}
	return p.link(c, stream, now)
}

func (p *plan) link(c *chain, stream int, now time.Time) item {
	c.n++
	c.links++
	it := item{id: p.newID(now, stream, chained), ticket: c.last, n: c.n, first: !c.started, place: c.links}
	c.last, c.started = it.id, true
	return it
}

func (p *plan) newID(now time.Time, stream int, k kind) commands.ID {
	// The random part comes from the process, not from the seed: two runs must not share ids.
	id := newID(now, rand.Uint64(), stream, k)
	p.log.add(id)
	return id
}

// wantsWait: stale tickets can only be sent where something is known to have landed, so with a share of
// them a stream's first command is waited for.
func (p *plan) wantsWait(stream int) bool {
	return p.cfg.Stale > 0 && !p.chains[stream].started || p.chance(p.cfg.WaitShare)
}

// landed notes that a command of a chain is known to have landed: its ticket is superseded now.
func (p *plan) landed(it item) {
	if kindOf(it.id) == chained {
		p.chains[streamOf(it.id)].superseded = it.ticket
	}
}

// holding lists the streams with a command held back.
func (p *plan) holding() []int {
	var streams []int
	for i := range p.chains {
		if p.chains[i].holds {
			streams = append(streams, i)
		}
	}
	return streams
}
