//go:build unix

package endtoend

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

var pushRounds = flag.Int("push.rounds", 3, "how often the server is killed while followers are cut at random")

// Promise 8 for those who are cut at random moments while the server is killed again and again: in `events`
// each landing once and in order once repeats are dropped, in `state` the newest in the end, and of one's
// own commands every outcome.
func TestFollowersThatAreCutSkipNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *place) {
		random := seed(t)
		load := newPlan(random, 80, 3)
		streams, waiting, names := load.inSessions()
		server := p.start(t)
		way := newTunnel(t, p.listen)
		followers := followersOf(t, p, way, random, streams, names)
		for _, f := range followers {
			f.await("it has its first mark", func() bool { return f.begun })
		}
		s := newSender(t, p.url(), 8)
		s.add(load.requests())
		share := load.size / (*pushRounds + 1)
		for range *pushRounds {
			before := len(s.commands())
			s.resume()
			s.await("commands are accepted", func() bool { return len(s.accepted) >= min(before+share/2, load.size*3/4) })
			way.freeze()
			s.await("commands are accepted", func() bool { return len(s.accepted) >= min(before+share/2+random.IntN(1+share/2), load.size*3/4) })
			linger(random)
			server.kill()
			s.pause()
			server = p.start(t)
		}
		s.sendAll()
		for _, f := range followers {
			f.await("its session is told of what waits", func() bool {
				for _, c := range waiting {
					if sessionOf(c.ID, f) && !f.parked[c.ID] {
						return false
					}
				}
				return true
			})
		}
		s.add(alone(load.heldBack))
		s.sendAll()
		found := audit(t, p.url(), s.commands())
		connections := 0
		for _, f := range followers {
			f.check(found)
			connections += f.connections()
		}
		require.Greater(t, connections, len(followers)*(*pushRounds))
		t.Logf("%d commands, %d followers, %d connections", load.size, len(followers), connections)
	})
}

// inSessions gives most commands one of three sessions, and tells the streams and those commands that wait until
// the ones that are held back come.
func (p *plan) inSessions() (streams []commands.Stream, waiting []*commands.Command, names [3]string) {
	for i := range names {
		names[i] = commands.NewID().String()
	}
	all := append([]*commands.Command{}, p.heldBack...)
	for _, placed := range p.queue {
		all = append(all, placed.Command)
	}
	seen := map[commands.Stream]bool{}
	for _, c := range all {
		if !seen[c.Stream] {
			seen[c.Stream] = true
			streams = append(streams, c.Stream)
		}
		if c.Session == "" && p.random.IntN(4) > 0 {
			ofSession(c, names[p.random.IntN(3)])
		}
	}
	return streams, p.waiting, names
}

// followersOf are followers of every kind.
func followersOf(t *testing.T, p *place, way *tunnel, random *rand.Rand, streams []commands.Stream, names [3]string) []*follower {
	t.Helper()
	var all []*follower
	add := func(f *follower) {
		f.random = rand.New(rand.NewPCG(random.Uint64(), 0))
		base := p.url()
		if f.name == "half-open" {
			base, f.patience = "http://"+way.address, time.Second
		}
		f.name = fmt.Sprintf("%s %s by version %t, session %q", f.name, f.deliver, f.byVersion, f.session)
		all = append(all, newFollower(t, base, f))
	}
	for i, deliver := range []string{"events", "state", "ticket"} {
		for _, byVersion := range []bool{false, true} {
			add(&follower{name: "cut", streams: streams, session: names[i], deliver: deliver, byVersion: byVersion, cuts: true})
		}
	}
	add(&follower{name: "cut", streams: streams[:10], deliver: "events", cuts: true})
	add(&follower{name: "steady", streams: streams, session: names[0], deliver: "events"})
	add(&follower{name: "session alone", session: names[1], deliver: "state", cuts: true})
	add(&follower{name: "slow", streams: streams, session: names[2], deliver: "events", slow: true})
	add(&follower{name: "slow", streams: streams, session: names[0], deliver: "state", slow: true, cuts: true})
	add(&follower{name: "half-open", streams: streams, session: names[1], deliver: "events"})
	add(&follower{name: "half-open", streams: streams, session: names[2], deliver: "state", byVersion: true})
	return all
}

// Who is disconnected because it does not keep up goes on without a gap.
func TestAFollowerThatWasDisconnectedForSlownessResumes(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *place) {
		server := p.start(t)
		stream := commands.Stream{Type: "document", ID: commands.NewID().String()}
		f := newFollower(t, p.url(), &follower{name: "stalled", streams: []commands.Stream{stream}, deliver: "events", slow: true,
			random: rand.New(rand.NewPCG(1, 0))})
		f.await("it has its first mark", func() bool { return f.begun })
		f.mu.Lock() // it takes nothing any more
		s := newSender(t, p.url(), 1)
		s.add(alone(largeDocument(stream, 200)))
		s.sendAll()
		found := audited(t, p, s)
		f.mu.Unlock()
		f.check(found)
		require.Equal(t, 1, metric(t, p, `doorman_notify_disconnected_total{cause="slow"}`))
		require.Equal(t, 2, f.connections())
		server.stop()
	})
}

// largeDocument is a chain of changes to a document of 100 KB.
func largeDocument(stream commands.Stream, changes int) []*commands.Command {
	text := make([]byte, 100<<10)
	for i := range text {
		text[i] = 'a' + byte(i%26)
	}
	all := []*commands.Command{command(stream, "create", commands.Genesis, map[string]any{"text": string(text), "n": 0})}
	for n := range changes {
		all = append(all, command(stream, "patch", all[n].ID, map[string]any{"n": n + 1}))
	}
	return all
}

// audited waits until all that was accepted has settled.
func audited(t *testing.T, p *place, s *sender) *report {
	t.Helper()
	found := &report{views: map[commands.ID]commands.CommandView{}}
	c := newClient(t, p.url())
	for _, sent := range s.commands() {
		view, err := c.Await(soon(t), sent.ID)
		require.NoError(t, err)
		found.views[sent.ID] = view
	}
	return found
}
