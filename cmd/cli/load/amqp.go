package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/ticketed/doorman/bus/rabbitmq"
)

// amqpWire sends commands as another service does: each request is a message, and there is one connection for all.
// What the broker says of a message, and what is answered to it, it tells as a server would over HTTP.
type amqpWire struct {
	config    rabbitmq.Config
	requester *rabbitmq.Requester // nil while there is no connection
	sent      uint64
	open      map[uint64]underWay
	problem   error // the connection is lost, which is to be told
	got       func(conn int, data []byte, err error)
	answer    []byte // scratch
}

// underWay is a message of which not everything has been heard.
type underWay struct {
	conn, items int
	waits       bool // for its outcome
}

var (
	_ wire           = (*amqpWire)(nil)
	_ rabbitmq.Heard = (*amqpWire)(nil)
)

// amqpHead is what comes before the body of a request over AMQP: whether its outcome is waited for, and how many
// commands it has.
const amqpHead = 3

func appendAMQPHead(b []byte, items int, wait bool) []byte {
	flag := byte(0)
	if wait {
		flag = 1
	}
	return binary.BigEndian.AppendUint16(append(b, flag), uint16(items)) //nolint:gosec // at most maxArray
}

func newAMQPWire(cfg *Config) *amqpWire {
	return &amqpWire{
		config: rabbitmq.Config{URL: cfg.AMQP, Prefix: cfg.AMQPPrefix, Name: "doorman bench", Logger: slog.New(slog.DiscardHandler)},
		open:   map[uint64]underWay{},
	}
}

func (w *amqpWire) dial(ctx context.Context, _ int) (err error) {
	if w.requester == nil {
		w.requester, err = rabbitmq.NewRequester(ctx, w.config)
	}
	return err
}

func (w *amqpWire) send(conn int, b []byte) {
	w.sent++
	m := underWay{conn: conn, waits: b[0] == 1, items: int(binary.BigEndian.Uint16(b[1:]))}
	w.open[w.sent] = m
	if w.requester == nil {
		w.problem = errors.New("there is no connection")
		return
	}
	if err := w.requester.Send(w.sent, b[amqpHead:], m.waits); err != nil {
		w.problem = err
	}
}

func (w *amqpWire) wait(until time.Time, got func(int, []byte, error)) error {
	w.got = got
	if w.requester != nil && w.problem == nil {
		w.problem = w.requester.Wait(until, w)
	}
	if w.problem == nil {
		return nil
	}
	lost := w.open
	problem := w.problem
	w.open, w.problem = map[uint64]underWay{}, nil
	if w.requester != nil {
		_ = w.requester.Close() // it is lost
		w.requester = nil
	}
	for _, m := range lost {
		got(m.conn, nil, problem)
	}
	return nil
}

// Confirmed is rabbitmq.Heard's, as is Answered.
func (w *amqpWire) Confirmed(number uint64, taken bool) {
	m, open := w.open[number]
	switch {
	case !open || taken && m.waits: // it was answered before, or will be
		return
	case taken:
		w.tell(number, m, "202 Accepted", strings.Repeat(`"status":"accepted"`, m.items))
	default:
		w.tell(number, m, "503 Service Unavailable", `{"status":503,"code":"unavailable","detail":"the queue is full"}`)
	}
}

// Answered tells an outcome, or a problem.
func (w *amqpWire) Answered(number uint64, body []byte) {
	if m, open := w.open[number]; open && m.waits {
		w.tell(number, m, "200 OK", string(body))
	}
}

func (w *amqpWire) tell(number uint64, m underWay, status, body string) {
	delete(w.open, number)
	w.answer = fmt.Appendf(w.answer[:0], "HTTP/1.1 %s\r\nContent-Length: ", status)
	w.answer = strconv.AppendInt(w.answer, int64(len(body)), 10)
	w.answer = append(append(w.answer, "\r\n\r\n"...), body...)
	w.got(m.conn, w.answer, nil)
}

func (w *amqpWire) close() {
	if w.requester != nil {
		_ = w.requester.Close() // all has been told
	}
}
