//go:build unix

package endtoend

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

// gateways are two of them and two workers, one of which keeps the catalog too.
func gateways(t *testing.T) (a, b *place, first *process) {
	t.Helper()
	a = overRabbitMQ(t)
	b = a.beside(t)
	first = a.start(t, "--roles", "gateway")
	b.start(t, "--roles", "gateway")
	a.beside(t).start(t, "--roles", "worker")
	a.beside(t).start(t, "--roles", "worker,projector")
	return a, b, first
}

// Promise 8 over several gateways: those who watch on one are told of what is sent through the other, of all
// their sessions' commands on whatever lane, also when their gateway is killed meanwhile.
func TestWhoWatchesOnOneGatewayIsToldOfTheOthers(t *testing.T) {
	t.Parallel()
	random := seed(t)
	a, b, first := gateways(t)
	load := newPlan(random, 60, 3)
	streams, _, names := load.inSessions()
	way := newTunnel(t, a.listen)
	followers := followersOf(t, a, way, random, streams[:20], names)
	for _, f := range followers {
		f.await("it has its first mark", func() bool { return f.begun })
	}
	s := newSender(t, b.url(), 8)
	s.add(load.requests())
	s.resume()
	s.await("commands are accepted", func() bool { return len(s.accepted) >= load.size/3 })
	way.freeze()
	first.kill()
	s.await("commands are accepted", func() bool { return len(s.accepted) >= load.size/2 })
	a.start(t, "--roles", "gateway")
	s.sendAll()
	s.add(alone(load.heldBack))
	s.sendAll()
	// What was accepted may still be on its way to a worker.
	stand(t, a, s.commands(), func(status commands.Status) bool { return status != commands.StatusUnknown })
	found := audit(t, a.url(), s.commands())
	for _, f := range followers {
		f.check(found)
	}
	require.Positive(t, metric(t, a, "doorman_livetail_received"))
}

// What is sent through one gateway is told on the other at once: not when it next looks at the log, once a second. By that
// each round would take a second, however fast the machine is.
func TestOneGatewayTellsAtOnceWhatTheOtherTook(t *testing.T) {
	t.Parallel()
	a, b, _ := gateways(t)
	stream, session := commands.Stream{Type: "ledger", ID: commands.NewID().String()}, commands.NewID().String()
	reader := newFollower(t, a.url(), &follower{name: "reader", streams: []commands.Stream{stream}, deliver: "events", random: rand.New(rand.NewPCG(1, 1))})
	owner := newFollower(t, a.url(), &follower{name: "owner", session: session, deliver: "state", random: rand.New(rand.NewPCG(1, 2))})
	for _, f := range []*follower{reader, owner} {
		f.await("it has its first mark", func() bool { return f.begun })
	}
	sending, waiting := newClient(t, b.url()), newClient(t, a.url())
	ticket := commands.Genesis
	var pushed, answered []time.Duration
	const rounds = 21
	for n := range rounds {
		c := command(stream, "add", ticket, added{1})
		ofSession(c, session)
		asked := make(chan error, 1)
		began := time.Now()
		go func() {
			_, err := waiting.Await(soon(t), c.ID)
			asked <- err
		}()
		view, err := sending.Send(soon(t), *c, client.SendOptions{Wait: client.MaxWait})
		require.NoError(t, err)
		require.Equal(t, commands.StatusLanded, view.Status)
		answered = append(answered, time.Since(began))
		reader.await("it is told", func() bool { return reader.known[stream].version == uint64(n+1) })
		owner.await("it is told", func() bool { return owner.own[c.ID].status == commands.StatusLanded })
		pushed = append(pushed, time.Since(began))
		require.NoError(t, <-asked)
		ticket = c.ID
	}
	slices.Sort(pushed)
	slices.Sort(answered)
	t.Logf("answered after %s, pushed after %s (medians)", answered[rounds/2], pushed[rounds/2])
	require.Less(t, pushed[rounds/2], 800*time.Millisecond)
	require.Less(t, answered[rounds/2], 800*time.Millisecond)
}
