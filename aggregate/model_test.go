package aggregate_test

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

// model is the second implementation of the ticket rules: the words of DESIGN section 2 over a list of
// everything that ever happened, from which each answer is worked out anew. It knows no instances, no
// queues, no rounds and no crashes; whatever the engine does about those must come to the same.
type model struct {
	limits          aggregate.Limits
	parkFor, window time.Duration
	now             time.Time
	clock           map[commands.Stream]time.Duration // working time of the stream's lane

	happened []happening // every outcome, oldest first
	waiting  []*waiter   // in the order of parking
	answers  []aggregate.Answer

	saw func(what string) // counts what came up
}

type happening struct {
	env        commands.Envelope
	at         time.Time
	events     []int // of a landing
	reason     commands.Reason
	root       commands.ID
	rootReason commands.Reason
	cascaded   bool
}

type waiter struct {
	env   commands.Envelope
	until time.Duration
}

// take judges one command and everything that its outcome brings about.
func (m *model) take(env commands.Envelope) {
	defer m.settle(env.Stream)
	if first, known := m.known(env.ID); known {
		ruling := aggregate.Conflict
		switch {
		case first.Hash == env.Hash && m.settled(env.ID):
			m.saw("repeat")
			ruling = aggregate.Repeat
		case first.Hash == env.Hash:
			m.saw("repeat of a parked one")
			ruling = aggregate.Repeat
		case first.Stream != env.Stream:
			m.saw("id_conflict across streams")
		default:
			m.saw("id_conflict")
		}
		m.answers = append(m.answers, aggregate.Answer{Ruling: ruling, ID: env.ID, Stream: env.Stream, Hash: env.Hash, Session: env.Session,
			ReplyTo: env.ReplyTo, CorrelationID: env.CorrelationID})
		return
	}
	switch reason := m.byPolicy(&env); reason {
	case "":
		if !m.valid(env.Stream, env.Ticket) {
			m.saw("admitted by " + env.Policy.String())
		}
		m.carryOut(env)
	case commands.PredecessorRejected:
		root := m.rejected(env.Stream, env.Ticket)
		m.reject(env, reason, root.root, root.rootReason, false)
	case commands.TicketCycle:
		members := m.chain(env.Stream, env.Ticket)
		m.saw(fmt.Sprintf("ticket_cycle of %d", min(3, 1+len(members))))
		m.reject(env, reason, env.ID, reason, false)
		for _, member := range members {
			m.reject(m.unpark(member), reason, env.ID, reason, true)
		}
	case "park":
		m.park(env)
	default:
		m.reject(env, reason, env.ID, reason, false)
	}
}

// byPolicy is the second table and the third: the reason to turn a command away, "park", or "" for come in.
func (m *model) byPolicy(env *commands.Envelope) commands.Reason {
	switch env.Policy {
	case commands.PolicyAny:
		return ""
	case commands.PolicyStrict:
		if m.valid(env.Stream, env.Ticket) {
			return ""
		}
		return commands.TicketNotCurrent
	case commands.PolicySession:
		if m.privileged(env) && m.rejected(env.Stream, env.Ticket) == nil {
			return ""
		}
	}
	switch {
	case env.Ticket == env.ID:
		return commands.SelfTicket
	case m.valid(env.Stream, env.Ticket):
		return ""
	case env.Ticket == commands.Genesis, m.landed(env.Stream, env.Ticket):
		return commands.StaleTicket
	case m.rejected(env.Stream, env.Ticket) != nil:
		return commands.PredecessorRejected
	case m.closes(env):
		return commands.TicketCycle
	case m.full(env):
		return commands.ParkingFull
	}
	return "park"
}

// valid: genesis while there is no event, or an action of the stream after which no event was appended.
func (m *model) valid(stream commands.Stream, ticket commands.ID) bool {
	found := ticket == commands.Genesis
	for _, h := range m.happened {
		if h.env.Stream != stream || h.reason != "" {
			continue
		}
		if found && len(h.events) > 0 {
			return false
		}
		if h.env.ID == ticket {
			found = true
		}
	}
	return found
}

func (m *model) landed(stream commands.Stream, id commands.ID) bool {
	for _, h := range m.happened {
		if h.env.Stream == stream && h.env.ID == id && h.reason == "" {
			return true
		}
	}
	return false
}

func (m *model) rejected(stream commands.Stream, id commands.ID) *happening {
	for i, h := range m.happened {
		if h.env.Stream == stream && h.env.ID == id && h.reason != "" {
			return &m.happened[i]
		}
	}
	return nil
}

// privileged: the last action on the stream landed from the same non-empty session within the window
// and was not itself let in by any.
func (m *model) privileged(env *commands.Envelope) bool {
	last := m.last(env.Stream)
	if last == nil || env.Session == "" || last.env.Session != env.Session || last.env.Policy == commands.PolicyAny {
		return false
	}
	if m.now.After(last.at.Add(m.window)) {
		m.saw("session outside its window")
		return false
	}
	return true
}

func (m *model) last(stream commands.Stream) *happening {
	var last *happening
	for i, h := range m.happened {
		if h.env.Stream == stream && h.reason == "" {
			last = &m.happened[i]
		}
	}
	return last
}

// chain is the parked command of that id, the parked one it waits on, and so on.
func (m *model) chain(stream commands.Stream, id commands.ID) []commands.ID {
	for _, w := range m.waiting {
		if w.env.ID == id && w.env.Stream == stream {
			return append([]commands.ID{id}, m.chain(stream, w.env.Ticket)...)
		}
	}
	return nil
}

func (m *model) closes(env *commands.Envelope) bool {
	for _, id := range m.chain(env.Stream, env.Ticket) {
		for _, w := range m.waiting {
			if w.env.ID == id && w.env.Ticket == env.ID {
				return true
			}
		}
	}
	return false
}

func (m *model) full(env *commands.Envelope) bool {
	stream, session := 0, 0
	for _, w := range m.waiting {
		if w.env.Stream == env.Stream {
			stream++
		}
		if w.env.Session == env.Session {
			session++
		}
	}
	switch {
	case stream >= m.limits.ParkedPerStream:
		m.saw("full stream")
	case env.Session != "" && session >= m.limits.ParkedPerSession:
		m.saw("full session")
	case len(m.waiting) >= m.limits.Parked:
		m.saw("full server")
	default:
		return false
	}
	return true
}

// park holds a command; whoever waits on a parked command waits at least as long as that one.
func (m *model) park(env commands.Envelope) {
	m.saw("parked")
	if m.heardElsewhere(env.Stream, env.Ticket) {
		m.saw("ticket of another stream")
	}
	m.waiting = append(m.waiting, &waiter{env: env, until: m.clock[env.Stream] + m.parkFor})
	for range m.waiting {
		for _, before := range m.waiting {
			for _, after := range m.waiting {
				if after.env.Stream == before.env.Stream && after.env.Ticket == before.env.ID {
					if after.until < before.until {
						m.saw("longer deadline")
						after.until = before.until
					}
				}
			}
		}
	}
}

// settle takes up whatever need wait no longer: first those whose ticket names a settled command, the one
// parked first first; when there are none left, the first parked one that its session's privilege lets in.
func (m *model) settle(stream commands.Stream) {
	for {
		env, ok := m.nextReleased(stream)
		if ok {
			m.takeUp(env)
			continue
		}
		if env, ok = m.nextPrivileged(stream); !ok {
			return
		}
		m.saw("admitted by session after parking")
		m.carryOut(env)
	}
}

// takeUp judges a command anew that waited for one that is settled now.
func (m *model) takeUp(env commands.Envelope) {
	if r := m.rejected(env.Stream, env.Ticket); r != nil {
		m.saw("cascade")
		m.reject(env, commands.PredecessorRejected, r.root, r.rootReason, true)
		return
	}
	reason := m.byPolicy(&env)
	if reason == "" {
		m.saw("released")
		m.carryOut(env)
		return
	}
	m.saw("released, but too late")
	m.reject(env, reason, env.ID, reason, false)
}

func (m *model) nextReleased(stream commands.Stream) (commands.Envelope, bool) {
	for _, w := range m.waiting {
		for _, h := range m.happened {
			if h.env.Stream == stream && w.env.Stream == stream && w.env.Ticket == h.env.ID {
				return m.unpark(w.env.ID), true
			}
		}
	}
	return commands.Envelope{}, false
}

func (m *model) nextPrivileged(stream commands.Stream) (commands.Envelope, bool) {
	for _, w := range m.waiting {
		if w.env.Stream == stream && w.env.Policy == commands.PolicySession && m.privileged(&w.env) {
			return m.unpark(w.env.ID), true
		}
	}
	return commands.Envelope{}, false
}

// carryOut is the aggregate's own judgement of a command that was let in.
func (m *model) carryOut(env commands.Envelope) {
	events, reason := m.decide(env)
	if reason != "" {
		m.reject(env, reason, env.ID, reason, false)
		return
	}
	m.saw(fmt.Sprintf("landed with %d events", len(events)))
	m.happened = append(m.happened, happening{env: env, at: m.now, events: events})
}

func (m *model) decide(env commands.Envelope) ([]int, commands.Reason) {
	n, _ := strconv.Atoi(string(env.Data))
	switch env.Type {
	case "add":
		return []int{n}, ""
	case "add_twice":
		return []int{n, n}, ""
	case "look":
		return nil, ""
	case "add_to_even":
		if m.state(env.Stream)%2 != 0 {
			return nil, commands.Refused
		}
		return []int{n}, ""
	case "garble":
		return nil, commands.Invalid
	case "panic", "break", "poison", "flood":
		return nil, commands.Failed
	}
	return nil, commands.UnknownCommand
}

func (m *model) reject(env commands.Envelope, reason commands.Reason, root commands.ID, rootReason commands.Reason,
	cascaded bool) {
	m.saw(string(reason))
	m.happened = append(m.happened, happening{env: env, at: m.now, reason: reason, root: root, rootReason: rootReason, cascaded: cascaded})
}

// expire turns away what waits on a stream longer than it may, in the order of parking.
func (m *model) expire(stream commands.Stream) {
	for i := 0; i < len(m.waiting); i++ {
		w := m.waiting[i]
		if w.env.Stream == stream && w.until <= m.clock[stream] {
			env := m.unpark(w.env.ID)
			m.reject(env, commands.PredecessorMissing, env.ID, commands.PredecessorMissing, false)
			m.settle(stream)
			i = -1
		}
	}
}

// takeOff is an operator's word.
func (m *model) takeOff(id commands.ID) {
	env := m.unpark(id)
	m.reject(env, commands.RejectedByOperator, id, commands.RejectedByOperator, false)
	m.settle(env.Stream)
}

func (m *model) unpark(id commands.ID) commands.Envelope {
	for i, w := range m.waiting {
		if w.env.ID == id {
			m.waiting = append(m.waiting[:i:i], m.waiting[i+1:]...)
			return w.env
		}
	}
	panic("not parked: " + id.String())
}

func (m *model) known(id commands.ID) (commands.Envelope, bool) {
	for _, h := range m.happened {
		if h.env.ID == id {
			return h.env, true
		}
	}
	for _, w := range m.waiting {
		if w.env.ID == id {
			return w.env, true
		}
	}
	return commands.Envelope{}, false
}

func (m *model) settled(id commands.ID) bool {
	return slices.ContainsFunc(m.happened, func(h happening) bool { return h.env.ID == id })
}

func (m *model) heardElsewhere(stream commands.Stream, id commands.ID) bool {
	first, known := m.known(id)
	return known && first.Stream != stream
}

// version and state of a stream are those of its events.
func (m *model) version(stream commands.Stream) uint64 { return uint64(len(m.events(stream))) }

func (m *model) state(stream commands.Stream) int {
	state := 0
	for _, n := range m.events(stream) {
		state = ledgerFold(state, n)
	}
	return state
}

func (m *model) events(stream commands.Stream) (all []int) {
	for _, h := range m.happened {
		if h.env.Stream == stream {
			all = append(all, h.events...)
		}
	}
	return all
}

// head is the ticket to send next.
func (m *model) head(stream commands.Stream) commands.ID {
	if last := m.last(stream); last != nil {
		return last.env.ID
	}
	return commands.Genesis
}
