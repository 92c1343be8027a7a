package livetail

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/record"
	"github.com/ticketed/doorman/commands"
)

// layout is the version of all messages, their first byte. Processes of another one are not understood: what
// they say is passed over, and the log is read.
const layout = 1

// The kinds of messages, their second byte.
const (
	kindHello    = iota + 1 // of a worker, to all gateways: tell me your interests
	kindInterest            // of a gateway, to all workers
	kindCommits             // of a worker, to one gateway
)

var errCorrupt = errors.New("livetail: message is corrupt")

// interest is a message about a gateway's interests.
type interest struct {
	epoch      string // of the log
	gateway    commands.ID
	address    string
	number     uint64 // counts the gateway's messages
	version    uint64
	whole      bool // added are all there are
	everything bool
	expects    bool
	leaves     bool // the gateway is going
	added      []key
	removed    []key
}

// The flags of an interest.
const (
	isWhole = 1 << iota
	wantsEverything
	wantsExpected
	isLeaving
)

func (i *interest) append(b []byte) []byte {
	b = append(b, layout, kindInterest)
	b = appendText(b, i.epoch)
	b = append(b, i.gateway[:]...)
	b = appendText(b, i.address)
	b = binary.AppendUvarint(b, i.number)
	b = binary.AppendUvarint(b, i.version)
	var flags byte
	for _, f := range [...]struct {
		set bool
		bit byte
	}{{i.whole, isWhole}, {i.everything, wantsEverything}, {i.expects, wantsExpected}, {i.leaves, isLeaving}} {
		if f.set {
			flags |= f.bit
		}
	}
	b = append(b, flags)
	return appendKeys(appendKeys(b, i.added), i.removed)
}

func appendKeys(b []byte, keys []key) []byte {
	b = binary.AppendUvarint(b, uint64(len(keys)))
	for _, k := range keys {
		b = binary.BigEndian.AppendUint64(b, uint64(k))
	}
	return b
}

func decodeInterest(body []byte) (i interest, err error) {
	r := reader{rest: body[2:]}
	i.epoch = r.text()
	i.gateway = r.id()
	i.address = r.text()
	i.number = r.number()
	i.version = r.number()
	flags := r.byte()
	i.whole, i.everything = flags&isWhole != 0, flags&wantsEverything != 0
	i.expects, i.leaves = flags&wantsExpected != 0, flags&isLeaving != 0
	i.added = r.keys()
	i.removed = r.keys()
	return i, r.end()
}

// commit is what one gateway is told of a commit.
type commit struct {
	covered store.Range
	// alone: its positions are all that is told of it.
	alone bool
	*aggregate.Result
}

// appendHeader begins a message of commits, made with a version of the gateway's interests.
func appendHeader(b []byte, epoch string, version uint64) []byte {
	b = append(b, layout, kindCommits)
	b = appendText(b, epoch)
	return binary.AppendUvarint(b, version)
}

// append adds a commit as a gateway wants it.
func (c *commit) append(b []byte, wants *wanted) []byte {
	b = binary.AppendUvarint(b, c.covered.First)
	b = binary.AppendUvarint(b, c.covered.Last+1-c.covered.First)
	if c.alone {
		return append(b, 1)
	}
	b = append(b, 0)
	b = binary.AppendVarint(b, c.At.UnixMicro())
	for at, o := range c.Outcomes {
		wanted, state := wants.outcome(o)
		if !wanted {
			continue
		}
		b = binary.AppendUvarint(b, uint64(at)+1)
		b = appendOutcome(b, o)
		switch {
		case !state || !o.Landed():
			b = appendBytes(b, nil)
		case len(c.States[at]) > maxState:
			b = append(b, noState)
		default:
			b = appendBytes(b, c.States[at])
		}
	}
	b = append(b, 0)
	b = appendWaiting(b, c.Park, wants)
	b = appendWaiting(b, c.Extend, wants)
	for i := range c.Answers {
		if a := &c.Answers[i]; wants.answer(a) {
			b = appendAnswer(append(b, 1), a)
		}
	}
	return append(b, 0)
}

const (
	// maxState bounds the states that travel. Those that are larger are read from the store, by gateways where
	// somebody watches.
	maxState = 64 << 10
	noState  = 0 // where a length, counted from 1, would stand
)

func appendOutcome(b []byte, o *commands.Outcome) []byte {
	b = append(b, o.ID[:]...)
	b = appendStream(b, o.Stream)
	b = binary.AppendUvarint(b, o.Version)
	b = binary.AppendVarint(b, o.ReceivedAt.UnixMicro())
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	b = record.AppendOutcome(b, o)
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4)) //nolint:gosec // an outcome has far less than 4 GiB
	return b
}

// appendWaiting adds what a gateway tells of parked commands.
func appendWaiting(b []byte, list []*aggregate.Waiting, wants *wanted) []byte {
	for _, w := range list {
		if !wants.waiting(w) {
			continue
		}
		b = append(b, 1)
		b = append(b, w.ID[:]...)
		b = append(b, w.Ticket[:]...)
		b = append(b, w.Hash[:]...)
		b = appendStream(b, w.Stream)
		b = appendText(b, w.Session)
		b = binary.AppendVarint(b, w.Until.UnixMicro())
	}
	return append(b, 0)
}

func appendAnswer(b []byte, a *aggregate.Answer) []byte {
	b = append(b, byte(a.Ruling))
	b = append(b, a.ID[:]...)
	b = append(b, a.Hash[:]...)
	b = appendStream(b, a.Stream)
	return appendText(b, a.Session)
}

func appendStream(b []byte, s commands.Stream) []byte {
	return appendText(appendText(appendText(b, s.Tenant), s.Type), s.ID)
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// appendBytes keeps nil, which is no state yet, apart from no word of it.
func appendBytes(b []byte, data []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(data))+1), data...)
}

// decodeCommits takes a message of commits apart.
func decodeCommits(body []byte) (epoch string, version uint64, commits []commit, err error) {
	r := reader{rest: body[2:]}
	epoch, version = r.text(), r.number()
	for len(r.rest) > 0 && r.err == nil {
		commits = append(commits, r.commit())
	}
	return epoch, version, commits, r.end()
}

func (r *reader) commit() commit {
	c := commit{covered: store.Range{First: r.number()}, Result: &aggregate.Result{}}
	covers := r.number()
	c.covered.Last = c.covered.First + covers - 1
	if c.alone = r.byte() == 1; c.alone {
		return c
	}
	c.At = r.time()
	told := true // every landing's state
	for last := uint64(0); ; {
		at := r.number()
		if at == 0 {
			break
		}
		if at <= last || at > covers {
			r.fail("an outcome that its commit does not cover")
			break
		}
		last = at
		o := r.outcome()
		o.Position = c.covered.First + at - 1
		state, known := r.bytes()
		told = told && known
		c.Outcomes = append(c.Outcomes, o)
		c.States = append(c.States, state)
	}
	if !told {
		c.States = nil
	}
	c.Park = r.waiting()
	c.Extend = r.waiting()
	for r.byte() == 1 {
		c.Answers = append(c.Answers, r.answer())
	}
	return c
}

// outcome keeps no part of the message: it may be kept for long.
func (r *reader) outcome() *commands.Outcome {
	o := &commands.Outcome{ID: r.id(), Stream: r.stream(), Version: r.number(), ReceivedAt: r.time()}
	if err := record.DecodeOutcome(bytes.Clone(r.take(r.size())), o); err != nil && r.err == nil {
		r.err = fmt.Errorf("livetail: %w", err)
	}
	return o
}

func (r *reader) waiting() (list []*aggregate.Waiting) {
	for r.byte() == 1 {
		w := &aggregate.Waiting{}
		w.ID, w.Ticket, w.Hash = r.id(), r.id(), commands.Hash(r.id())
		w.Stream, w.Session, w.Until = r.stream(), r.text(), r.time()
		list = append(list, w)
	}
	return list
}

func (r *reader) answer() aggregate.Answer {
	a := aggregate.Answer{Ruling: aggregate.Ruling(r.byte()), ID: r.id(), Hash: commands.Hash(r.id())}
	a.Stream, a.Session = r.stream(), r.text()
	return a
}

// reader takes a message apart from the front. After the first thing that does not fit it gives zero values.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", errCorrupt, what)
	}
	r.rest = nil
}

func (r *reader) end() error {
	if r.err == nil && len(r.rest) > 0 {
		r.fail("bytes are left over")
	}
	return r.err
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.fail("it ends early")
		return nil
	}
	taken := r.rest[:n:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.fail("a number is damaged")
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *reader) size() uint64 {
	if b := r.take(4); b != nil {
		return uint64(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *reader) time() time.Time {
	micros, size := binary.Varint(r.rest)
	if size <= 0 {
		r.fail("a time is damaged")
		return time.Time{}
	}
	r.rest = r.rest[size:]
	return time.UnixMicro(micros).UTC()
}

func (r *reader) id() (id commands.ID) {
	copy(id[:], r.take(uint64(len(id))))
	return id
}

func (r *reader) text() string { return string(r.take(r.number())) }

func (r *reader) bytes() (data []byte, known bool) {
	switch n := r.number(); n {
	case noState:
		return nil, false
	case 1:
		return nil, true
	default:
		return bytes.Clone(r.take(n - 1)), true
	}
}

func (r *reader) stream() commands.Stream {
	return commands.Stream{Tenant: r.text(), Type: r.text(), ID: r.text()}
}

func (r *reader) keys() []key {
	n := r.number()
	const each = 8
	if n > uint64(len(r.rest)/each) {
		r.fail("it ends early")
		return nil
	}
	keys := make([]key, n)
	for i := range keys {
		keys[i] = key(binary.BigEndian.Uint64(r.take(each)))
	}
	return keys
}
