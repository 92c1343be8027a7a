package load

import (
	"bytes"
	"cmp"
	"encoding/json"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ticketed/doorman/commands"
)

// verdict is what the server said of a command, in an answer to a waiting client or when it was asked.
type verdict struct {
	status   commands.Status
	reason   commands.Reason
	position string
	version  uint64
	ticket   string
}

// lasting is the part of a verdict that must be the same whenever it is told: what a rejection says of the
// stream is as of the moment of telling.
func (v verdict) lasting() verdict {
	v.ticket = ""
	if v.status == commands.StatusRejected {
		v.version = 0
	}
	return v
}

// told is one command's place in an answer: an acceptance, an outcome, or a problem.
type told struct {
	ID       commands.ID     `json:"id"`
	Status   json.RawMessage `json:"status"` // a problem's is a number
	Code     commands.Reason `json:"code"`   // of a problem
	Reason   commands.Reason `json:"reason"` // of a rejection
	Detail   string          `json:"detail"`
	Position string          `json:"position"`
	Version  uint64          `json:"version"`
	Ticket   string          `json:"ticket"`
}

// rejections are the reasons that are outcomes; the other codes are refusals.
var rejections = map[commands.Reason]bool{
	commands.SelfTicket: true, commands.StaleTicket: true, commands.PredecessorRejected: true,
	commands.PredecessorMissing: true, commands.TicketCycle: true, commands.ParkingFull: true,
	commands.TicketNotCurrent: true, commands.RejectedByOperator: true, commands.UnknownCommand: true,
	commands.Invalid: true, commands.Refused: true, commands.Failed: true,
}

func (t *told) verdict() verdict {
	v := verdict{position: t.Position, version: t.Version, reason: cmp.Or(t.Code, t.Reason), ticket: t.Ticket}
	if rejections[v.reason] {
		v.status = commands.StatusRejected
		return v
	}
	_ = json.Unmarshal(t.Status, &v.status) // a number is a refusal's and stays empty
	return v
}

var allAccepted = []byte(`"status":"accepted"`)

// answered takes the answer to what a connection sent.
func (e *engine) answered(conn int, answer *response) {
	c := &e.conns[conn]
	latency := e.now.Sub(c.from).Microseconds()
	if answer.status == 202 && !c.wait && (!e.req.array || bytes.Count(answer.body, allAccepted) == len(c.items)) {
		record(e.toAccepted, latency, int64(len(c.items)))
		e.posts++
		if e.watch != nil {
			e.watch.accepted(c.items)
		}
		e.take(c.items)
		c.items = c.items[:0]
		return
	}
	answers, ok := e.readAnswers(answer, len(c.items))
	if !ok {
		e.fail("answered %d with %.300q", answer.status, answer.body)
		return
	}
	again := c.items[:0]
	var landed, accepted int64
	for i, it := range c.items {
		v := answers[i].verdict()
		switch v.status {
		case commands.StatusLanded:
			landed++
			e.plan.landed(it)
			e.keep(it.id, v)
		case commands.StatusRejected:
			e.keep(it.id, v)
		case commands.StatusAccepted, commands.StatusParked:
			if e.watch != nil {
				e.watch.accepted(c.items[i : i+1])
			}
		default:
			e.refusals[v.reason]++
			if !passing(v.reason) {
				e.fail("a command was refused: %d %s %s", answer.status, v.reason, answers[i].Detail)
			}
			again = append(again, it)
			continue
		}
		accepted++
		e.take(c.items[i : i+1])
	}
	if c.wait {
		record(e.toLanded, latency, landed)
	} else {
		record(e.toAccepted, latency, accepted)
	}
	if c.items = again; len(again) > 0 {
		e.again(conn, answer.retryAfter)
		return
	}
	e.posts++
}

func record(h *hdrhistogram.Histogram, micros, times int64) {
	if times > 0 {
		_ = h.RecordValues(min(max(micros, 1), h.HighestTrackableValue()), times) // cannot fail within its bounds
	}
}

// passing: refusals that say "not now".
func passing(code commands.Reason) bool {
	switch code {
	case commands.Unavailable, commands.FateUnknown, commands.RateLimited, commands.PredecessorRefused:
		return true
	}
	return false
}

// take counts commands that the server has accepted.
func (e *engine) take(items []item) {
	e.lastTaken = e.now
	for i := range items {
		if !items[i].again {
			e.accepted++
		}
	}
}

// keep remembers what a waiting client was told, to compare it with what is told later.
func (e *engine) keep(id commands.ID, v verdict) {
	v = v.lasting()
	if before, ok := e.told[id]; ok && before != v {
		e.fail("command %s was told two outcomes: %+v and %+v", id, before, v)
	}
	if len(e.told) < maxTold {
		e.told[id] = v
	}
}

// again sends what was refused once more when the server says so, or after a growing while.
func (e *engine) again(conn int, after time.Duration) {
	c := &e.conns[conn]
	if after == 0 {
		after = 50 * time.Millisecond << min(c.tries, 5)
	}
	c.tries++
	c.request = e.req.appendPost(c.request[:0], c.items, conn, c.wait)
	e.later(conn, min(after, 5*time.Second))
}

// readAnswers gives one answer an item; a problem that answers the whole request is every item's.
func (e *engine) readAnswers(answer *response, items int) ([]told, bool) {
	if e.req.array && bytes.HasPrefix(bytes.TrimLeft(answer.body, " \r\n\t"), []byte("[")) {
		var list []told
		err := json.Unmarshal(answer.body, &list)
		return list, err == nil && len(list) == items
	}
	var one told
	if err := json.Unmarshal(answer.body, &one); err != nil || e.req.array && answer.status < 300 {
		return nil, false
	}
	list := make([]told, items)
	for i := range list {
		list[i] = one
	}
	return list, true
}
