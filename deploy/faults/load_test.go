//go:build unix

package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/ticketed/doorman/commands"
)

// What the load consists of.
const (
	rate           = 200 // commands a second
	beat           = 50 * time.Millisecond
	outOfOrder     = 30 // of 100 commands
	duplicated     = 10
	stale          = 5
	streamsPerLane = 4
	lanes          = 16 // doorman's default
	sessionCount   = 6
	writers        = 64  // requests under way at once
	mostQueued     = 512 // who would send more waits
	answerTime     = 3 * time.Second
)

// sent is one command and what became of sending it.
type sent struct {
	*commands.Command
	orphan bool // its predecessor is never sent: it is to expire

	mu       sync.Mutex
	answers  []answer
	accepted bool
}

// answer is what came back of one request.
type answer struct {
	at      time.Time
	gateway string
	status  int    // 0: none came
	text    string // the problem's code, or the error
}

// mostAnswers are kept of one command: the first ones.
const mostAnswers = 100

// load sends commands of several sessions on many streams, each until it is accepted, by whichever gateway
// takes it. It keeps account of everything.
type load struct {
	random   *rand.Rand
	gateways []*process
	http     *http.Client
	found    *complaints
	streams  []*chain
	sessions []string

	queue   chan *sent
	ending  chan struct{} // closed when no more commands are to be made
	life    context.Context
	abandon context.CancelFunc
	ended   sync.WaitGroup

	mu    sync.Mutex
	all   []*sent
	open  int // not accepted yet
	again []repeat
	fates map[string]int // answers, by code
	// flying are requests under way, and taken is when each gateway accepted something last.
	flying map[*sent]string
	taken  map[string]time.Time
}

// repeat is a command that is sent once more.
type repeat struct {
	due time.Time
	*sent
}

// chain is one stream's history, as those who write to it want it to be.
type chain struct {
	stream commands.Stream

	mu     sync.Mutex
	ticket commands.ID
	ids    []commands.ID // of the actions, in order
	kinds  []string
	based  map[commands.ID]int // how often the chain had been begun anew when a command was made
	anew   int
	late   []*sent // to be sent after later ones
	after  int     // how many later ones
}

// newLoad makes streams of the round, as many on each lane. Names come from the seed.
func newLoad(random *rand.Rand, round string, gateways []*process, found *complaints) *load {
	l := &load{random: random, gateways: gateways, found: found, queue: make(chan *sent, mostQueued),
		ending: make(chan struct{}), fates: map[string]int{},
		flying: map[*sent]string{}, taken: map[string]time.Time{}}
	l.life, l.abandon = context.WithCancel(context.Background())
	l.http = &http.Client{Timeout: answerTime, Transport: &http.Transport{MaxIdleConns: 2 * writers, MaxIdleConnsPerHost: writers}}
	for range sessionCount {
		l.sessions = append(l.sessions, fmt.Sprintf("%s-%x", round, random.Uint64()))
	}
	room := make([]int, lanes)
	for len(l.streams) < lanes*streamsPerLane {
		s := commands.Stream{Type: patientType, ID: fmt.Sprintf("%s-%x", round, random.Uint32())}
		if len(l.streams)%4 == 3 {
			s.Type = briefType
		}
		if lane := s.Lane(lanes); room[lane] < streamsPerLane {
			room[lane]++
			l.streams = append(l.streams, newChain(s))
		}
	}
	return l
}

// begin sends from now on.
func (l *load) begin() {
	for range writers {
		l.ended.Go(l.write)
	}
	l.ended.Go(l.generate)
}

func newChain(s commands.Stream) *chain {
	return &chain{stream: s, ticket: commands.Genesis, based: map[commands.ID]int{}}
}

// watched are all streams.
func (l *load) watched() (all []commands.Stream) {
	for _, c := range l.streams {
		all = append(all, c.stream)
	}
	return all
}

// generate makes commands at the rate, or more slowly when they are not taken.
func (l *load) generate() {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-l.ending:
			for _, c := range l.streams {
				l.send(c.overdue(true)...)
			}
			l.send(l.due(time.Time{})...)
			close(l.queue)
			return
		}
		for range int(rate * beat / time.Second) {
			l.generateOne()
		}
		l.send(l.due(time.Now())...)
	}
}

// generateOne makes one command, and hands over what is to be sent now.
func (l *load) generateOne() {
	c := l.streams[l.random.IntN(len(l.streams))]
	s := l.next(c)
	l.adopt(s)
	if l.random.IntN(100) < duplicated {
		l.mu.Lock()
		l.again = append(l.again, repeat{time.Now().Add(time.Duration(l.random.IntN(4000)) * time.Millisecond), s})
		l.mu.Unlock()
	}
	if l.random.IntN(100) < outOfOrder && c.delay(s, 1+l.random.IntN(3)) {
		return
	}
	l.send(s)
	l.send(c.overdue(false)...)
}

// send hands commands to those who write, and waits while too much is queued.
func (l *load) send(all ...*sent) {
	for _, s := range all {
		select {
		case l.queue <- s:
		case <-l.life.Done():
			return
		}
	}
}

// withhold is a command that others can name before it is sent by [load.release].
func (l *load) withhold(stream commands.Stream, ticket commands.ID) *sent {
	return &sent{Command: &commands.Command{ID: commands.NewID(), Stream: stream, Type: "add", Ticket: ticket, Actor: "Ben",
		Session: l.sessions[0], Data: encoded(added{1})}}
}

// release sends a command that was made apart.
func (l *load) release(s *sent) {
	l.adopt(s)
	l.send(s)
}

// end makes no more commands, and returns once all are accepted; false when they are not in time.
func (l *load) end(within time.Duration) bool {
	close(l.ending)
	timer := time.AfterFunc(within, l.abandon)
	defer timer.Stop()
	l.ended.Wait()
	l.abandon()
	l.http.CloseIdleConnections()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open == 0
}

// adopt counts a command as one that is to be accepted.
func (l *load) adopt(s *sent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, s)
	l.open++
}

// due takes out what is to be sent again by now; all of it when that is never.
func (l *load) due(now time.Time) (all []*sent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.again = slices.DeleteFunc(l.again, func(r repeat) bool {
		if !now.IsZero() && r.due.After(now) {
			return false
		}
		all = append(all, r.sent)
		return true
	})
	return all
}

// next makes a command that goes on with a chain, or one that comes too late.
func (l *load) next(c *chain) *sent {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.old(); ok && l.random.IntN(100) < stale {
		return l.make(c.stream, "add", old)
	}
	kind := "add"
	switch choice := l.random.IntN(100); {
	case choice < 10:
		kind = "note"
	case choice < 20:
		kind = "add_twice"
	}
	s := l.make(c.stream, kind, c.ticket)
	c.based[s.ID] = c.anew
	c.ids, c.kinds, c.ticket = append(c.ids, s.ID), append(c.kinds, kind), s.ID
	return s
}

func (l *load) make(stream commands.Stream, kind string, ticket commands.ID) *sent {
	c := &commands.Command{ID: commands.NewID(), Stream: stream, Type: kind, Ticket: ticket, Actor: "Ann",
		Session: l.sessions[l.random.IntN(len(l.sessions))]}
	if kind != "note" {
		c.Data = encoded(added{1 + l.random.IntN(9)})
	}
	return &sent{Command: c}
}

// old is an action that has most probably landed and been followed. When it has not, its successor may be
// turned away instead: legal as well.
func (c *chain) old() (commands.ID, bool) {
	const back = 12
	if len(c.ids) < back+2 || c.kinds[len(c.ids)-back] == "note" {
		return commands.None, false
	}
	return c.ids[len(c.ids)-back-1], true
}

// mostLate are kept back of one stream at once.
const mostLate = 3

// delay keeps a command back until later ones of its stream have been sent; false when enough are already.
func (c *chain) delay(s *sent, after int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.late) == mostLate {
		return false
	}
	c.late, c.after = append(c.late, s), max(c.after, after)
	return true
}

// overdue takes out what later ones have overtaken, or everything that is kept back.
func (c *chain) overdue(all bool) []*sent {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.after--; !all && c.after > 0 {
		return nil
	}
	late := c.late
	slices.Reverse(late)
	c.late, c.after = nil, 0
	return late
}

// told begins a chain anew at the ticket that a rejection tells, once for everything that was sent before.
func (l *load) told(view *commands.CommandView) {
	at := slices.IndexFunc(l.streams, func(c *chain) bool { return c.stream == view.Stream })
	if at < 0 || view.Ticket == commands.None {
		return
	}
	c := l.streams[at]
	c.mu.Lock()
	defer c.mu.Unlock()
	if base, ours := c.based[view.ID]; ours && base == c.anew {
		c.anew++
		c.ticket = view.Ticket
	}
}

// write sends what is queued, each until it is accepted.
func (l *load) write() {
	random := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for s := range l.queue {
		for try := random.IntN(len(l.gateways)); l.life.Err() == nil; try++ { // who gets no answer asks somebody else
			if l.took(s, l.post(s, l.gateways[try%len(l.gateways)])) {
				break
			}
			time.Sleep(20*time.Millisecond + time.Duration(random.IntN(200))*time.Millisecond) // as a client does
		}
	}
}

func (l *load) post(s *sent, gateway *process) answer {
	l.mu.Lock()
	l.flying[s] = gateway.name
	l.mu.Unlock()
	response, err := l.http.Post(gateway.url()+"/v1/commands", "application/json", bytes.NewReader(s.AppendTo(nil))) //nolint:noctx // the client has its time
	a := answer{gateway: gateway.name}
	if err == nil {
		var text []byte
		text, err = io.ReadAll(io.LimitReader(response.Body, 64<<10))
		_ = response.Body.Close()
		a.status, a.text = response.StatusCode, string(text)
	}
	if a.at = time.Now(); err != nil {
		a.status, a.text = 0, err.Error()
	}
	return a
}

// unheard gives the commands that a gateway was sent and has not answered for.
func (l *load) unheard(gateway *process) (all []commands.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s, name := range l.flying {
		if name == gateway.name {
			all = append(all, s.ID)
		}
	}
	return all
}

// tookAfter tells whether a gateway accepted something after a moment.
func (l *load) tookAfter(gateway *process, moment time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.taken[gateway.name].After(moment)
}

// took keeps account of an answer; true when the command is accepted.
func (l *load) took(s *sent, a answer) bool {
	fate := "no answer"
	var body struct {
		ID     commands.ID
		Status any
		Code   string
	}
	if a.status != 0 {
		if err := json.Unmarshal([]byte(a.text), &body); err != nil {
			l.found.add("%s was answered %d %q: %v", s.ID, a.status, a.text, err)
		}
		if fate = body.Code; fate == "" {
			fate = fmt.Sprint(body.Status)
		}
		a.text = fate
	}
	accepted := a.status == http.StatusAccepted && body.ID == s.ID && body.Status == string(commands.StatusAccepted)
	if !accepted && a.status != 0 && a.status != http.StatusServiceUnavailable && a.status != http.StatusTooManyRequests {
		l.found.add("%s on %s was answered %d %s", s.ID, s.Stream, a.status, a.text)
	}
	s.mu.Lock()
	first := accepted && !s.accepted
	s.accepted = s.accepted || accepted
	if len(s.answers) < mostAnswers {
		s.answers = append(s.answers, a)
	}
	s.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.flying, s)
	l.fates[fate]++
	if accepted {
		l.taken[a.gateway] = a.at
	}
	if first {
		l.open--
	}
	return accepted
}
