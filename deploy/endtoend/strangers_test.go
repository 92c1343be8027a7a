//go:build unix

package endtoend

import (
	"net"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

// DESIGN section 4 and promise 9: other services that are slow, that crash again and again without acknowledging, or
// whose queue is full and refuses, stop no lane, and keep nothing from anybody else: while they are at it, for longer
// than a refusing queue is tried for, commands land at a steady rate, and whoever listens hears of everything, first
// deliveries of a stream in order. So do the slow one and the one that crashed, once they are well.
func TestOtherServicesThatMisbehaveStopNobody(t *testing.T) {
	t.Parallel()
	p := overRabbitMQ(t)
	server := p.start(t)
	good := listen(t, p)
	slow := strange(t, p, "slow", nil)
	crashing := strange(t, p, "crashing", nil)
	const room = 5
	full := strange(t, p, "full", amqp.Table{"x-max-length": int64(room), "x-overflow": "reject-publish"})

	const steady, streams, longerThanARefusal = 20 * time.Millisecond, 24, 15 * time.Second
	load := newSteadyLoad(t, p, steady, streams)
	over := time.After(longerThanARefusal)
	for running := true; running; {
		select {
		case <-over:
			running = false
		default:
			slow.dawdle(50 * time.Millisecond)
			crashing.crash(40)
		}
	}
	load.end()
	require.Eventually(t, func() bool { return metric(t, p, "doorman_bus_notices_passed_over_total") > 0 }, patience, 100*time.Millisecond,
		"whose queue refuses is passed over in the end")

	log := wholeLog(t, p)
	require.GreaterOrEqual(t, len(log), int(longerThanARefusal/steady)/2, "at about that rate, on a busy machine as well")
	for name, service := range map[string]*listener{"good": good, "slow": slow.listener, "crashing": crashing.listener} {
		h := newHeard(t, log)
		done := false
		for i := range service.came { // before
			done = h.take(&service.came[i])
		}
		if !done {
			service.hear("all events and outcomes of the log, "+name, h.take)
		}
		t.Logf("%s: %d outcomes were told in %d messages", name, len(log), len(service.came))
	}
	queue, err := full.channel.QueueDeclarePassive(full.queue, true, false, false, false, nil)
	require.NoError(t, err)
	require.Equal(t, room, queue.Messages, "it has room for no more")
	server.stop()
}

// stranger is a service with weaknesses, and a queue of its own for all events and outcomes. A queue with bounds is a
// classic one, which keeps them exactly.
type stranger struct{ *listener }

func strange(t *testing.T, p *place, name string, bounds amqp.Table) *stranger {
	t.Helper()
	url := brokerURL()
	conn, err := amqp.Dial(url)
	require.NoError(t, err)
	channel, err := conn.Channel()
	require.NoError(t, err)
	prefix := p.argument("--rabbitmq-prefix")
	s := &stranger{&listener{t: t, channel: channel, queue: prefix + ".service." + name}}
	if bounds == nil {
		bounds = amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum}
	}
	_, err = channel.QueueDeclare(s.queue, true, false, false, false, bounds)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		require.Eventually(t, func() bool { return deleteQueue(url, s.queue) == nil }, patience, 100*time.Millisecond)
	})
	for _, exchange := range []string{"events", "outcomes"} {
		require.NoError(t, channel.QueueBind(s.queue, "#", prefix+"."+exchange, false, nil))
	}
	return s
}

// dawdle takes one message, and acknowledges it after a while.
func (s *stranger) dawdle(d time.Duration) {
	s.t.Helper()
	message, some, err := s.channel.Get(s.queue, false)
	require.NoError(s.t, err)
	pass(d)
	if some {
		s.came = append(s.came, message)
		require.NoError(s.t, message.Ack(false))
	}
}

// crash takes messages over a connection of its own, acknowledges none, and is gone without a word.
func (s *stranger) crash(most int) {
	s.t.Helper()
	var socket net.Conn
	conn, err := amqp.DialConfig(brokerURL(), amqp.Config{Dial: func(network, address string) (net.Conn, error) {
		var err error
		socket, err = amqp.DefaultDial(patience)(network, address)
		return socket, err
	}})
	require.NoError(s.t, err)
	channel, err := conn.Channel()
	require.NoError(s.t, err)
	require.NoError(s.t, channel.Qos(most, 0, false))
	deliveries, err := channel.ConsumeWithContext(soon(s.t), s.queue, "", false, false, false, false, nil)
	require.NoError(s.t, err)
	for range most {
		select {
		case d := <-deliveries:
			s.came = append(s.came, d)
			continue
		case <-time.After(100 * time.Millisecond): // there are no more at the moment
		}
		break
	}
	require.NoError(s.t, socket.Close())
	_ = conn.Close() // it fails, since the other side hears nothing of it
}

// steadyLoad sends commands at a rate, whatever becomes of them, and sees each of them land.
type steadyLoad struct {
	t       *testing.T
	ending  chan struct{}
	ended   sync.WaitGroup
	sending sync.WaitGroup
}

func newSteadyLoad(t *testing.T, p *place, every time.Duration, streams int) *steadyLoad {
	t.Helper()
	l := &steadyLoad{t: t, ending: make(chan struct{})}
	c := newClient(t, p.url())
	ctx := t.Context()
	tickets := make([]commands.ID, streams)
	names := make([]commands.Stream, streams)
	for i := range streams {
		tickets[i], names[i] = commands.Genesis, commands.Stream{Type: "ledger", ID: commands.NewID().String()}
	}
	l.ended.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-tick.C:
			case <-l.ending:
				return
			}
			next := command(names[n%streams], "add", tickets[n%streams], added{1})
			tickets[n%streams] = next.ID
			l.sending.Go(func() {
				told, err := c.Send(ctx, *next, client.SendOptions{Wait: client.MaxWait})
				if err != nil || told.Status != commands.StatusLanded {
					t.Errorf("%s: %v, %v", next.ID, told, err)
				}
			})
		}
	})
	t.Cleanup(l.end)
	return l
}

// end sends no more, and returns once everything has landed.
func (l *steadyLoad) end() {
	select {
	case <-l.ending:
	default:
		close(l.ending)
	}
	l.ended.Wait()
	l.sending.Wait()
}
