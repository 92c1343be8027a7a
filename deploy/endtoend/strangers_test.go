//go:build unix

package endtoend

import (
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

// DESIGN section 4 and promise 9: other services that are slow, that crash again and again without acknowledging, or
// whose queue is full and refuses, stop no lane, and keep nothing from anybody else: while they are at it, for longer
// than a refusing queue is tried for, no command waits for as long, and whoever listens hears of everything, first
// deliveries of a stream in order. So do the slow one and the one that crashed, once they are well.
func TestOtherServicesThatMisbehaveStopNobody(t *testing.T) {
	t.Parallel()
	p := overRabbitMQ(t)
	server := p.start(t)
	good := listen(t, p, "good", nil)
	slow := listen(t, p, "slow", nil)
	// Who wants what it has not acknowledged back before anything else lets one consumer at a time be active.
	crashing := listen(t, p, "crashing", amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum, "x-single-active-consumer": true})
	const room = 5
	// A classic queue keeps its bounds exactly.
	full := listen(t, p, "full", amqp.Table{"x-max-length": int64(room), "x-overflow": "reject-publish"})

	const streams, aRefusal, longerThanARefusal = 24, 10 * time.Second, 15 * time.Second
	end := steadily(t, p, 500*time.Millisecond, streams)
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
	require.Less(t, end(), aRefusal*9/10, "the command that took longest")
	require.Eventually(t, func() bool { return metric(t, p, "doorman_bus_notices_passed_over_total") > 0 }, patience, 100*time.Millisecond,
		"whose queue refuses is passed over in the end")

	log := wholeLog(t, p)
	for name, service := range map[string]*listener{"good": good, "slow": slow, "crashing": crashing} {
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

// dawdle takes one message, and acknowledges it after a while.
func (l *listener) dawdle(d time.Duration) {
	l.t.Helper()
	message, some, err := l.channel.Get(l.queue, false)
	require.NoError(l.t, err)
	pass(d)
	if some {
		l.came = append(l.came, message)
		require.NoError(l.t, message.Ack(false))
	}
}

// crash takes messages over a connection of its own, acknowledges none, and is gone without a word.
func (l *listener) crash(most int) {
	l.t.Helper()
	var socket net.Conn
	conn, err := amqp.DialConfig(rabbitmqtest.URL(), amqp.Config{Heartbeat: patience, Dial: func(network, address string) (net.Conn, error) {
		var err error
		socket, err = amqp.DefaultDial(patience)(network, address)
		return socket, err
	}})
	require.NoError(l.t, err)
	channel, err := conn.Channel()
	require.NoError(l.t, err)
	require.NoError(l.t, channel.Qos(most, 0, false))
	deliveries, err := channel.ConsumeWithContext(soon(l.t), l.queue, "", false, false, false, false, nil)
	require.NoError(l.t, err)
	for range most {
		select {
		case d, open := <-deliveries:
			require.True(l.t, open)
			l.came = append(l.came, d)
			continue
		case <-time.After(100 * time.Millisecond): // there are no more at the moment
		}
		break
	}
	require.NoError(l.t, socket.Close())
	_ = conn.Close() // it fails, since the other side hears nothing of it
}

// steadily sends commands on so many streams, one after another on each, and sees each of them land. What it returns
// ends that, and tells how long the slowest took.
func steadily(t *testing.T, p *place, every time.Duration, streams int) (end func() time.Duration) {
	t.Helper()
	c, ctx, ending := newClient(t, p.url()), t.Context(), make(chan struct{})
	slowest := make([]time.Duration, streams)
	var sending sync.WaitGroup
	for i := range slowest {
		sending.Go(func() {
			stream, ticket := commands.Stream{Type: "ledger", ID: commands.NewID().String()}, commands.Genesis
			tick := time.NewTicker(every)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
				case <-ending:
					return
				}
				began, next := time.Now(), command(stream, "add", ticket, added{1})
				told, err := c.Send(ctx, *next, client.SendOptions{Wait: client.MaxWait})
				if err != nil || told.Status != commands.StatusLanded {
					t.Errorf("%s: %v, %v", next.ID, told, err)
					return
				}
				ticket, slowest[i] = next.ID, max(slowest[i], time.Since(began))
			}
		})
	}
	end = sync.OnceValue(func() time.Duration {
		close(ending)
		sending.Wait()
		return slices.Max(slowest)
	})
	t.Cleanup(func() { end() })
	return end
}
