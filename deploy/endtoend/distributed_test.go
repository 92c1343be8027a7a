//go:build unix

package endtoend

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

// overRabbitMQ is a place on Postgres whose processes are connected by a broker, which must be there, with
// queues of their own.
func overRabbitMQ(t *testing.T) *place {
	t.Helper()
	config := rabbitmqtest.Config(t) // its end comes after that of the processes
	p := onPostgres(t)
	p.args = append(p.args, "--rabbitmq-prefix", config.Prefix)
	p.environ = append(p.environ, "DOORMAN_RABBITMQ_URL="+config.URL)
	return p
}

// beside is the place of another process of the same deployment.
func (p *place) beside(t *testing.T) *place {
	t.Helper()
	other := newPlace(t)
	other.args, other.environ = p.args, p.environ
	return other
}

// answer is what a process says at an address of its.
func answer(t *testing.T, p *place, path string) (status int, text string) {
	t.Helper()
	response, err := newHTTP(t, 1).Get(p.url() + path) //nolint:noctx // the client has its time
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body)
}

// begin makes commands that need nothing before them, on streams of all lanes.
func begin() []commands.Command {
	all := make([]commands.Command, 96)
	for i := range all {
		stream := commands.Stream{Type: "ledger", ID: commands.NewID().String()}
		all[i] = *command(stream, "add", commands.Genesis, added{1})
	}
	return all
}

// allLand sends commands and expects each to land in time.
func allLand(t *testing.T, p *place, all []commands.Command, within time.Duration) (sent []*commands.Command) {
	t.Helper()
	began := time.Now()
	for i, result := range newClient(t, p.url()).SendAll(soon(t), all, client.SendOptions{}) {
		require.NoError(t, result.Err)
		sent = append(sent, &all[i])
	}
	stand(t, p, sent, func(status commands.Status) bool { return status == commands.StatusLanded })
	took := time.Since(began)
	require.Less(t, took, within)
	t.Logf("%d on all lanes landed in %s", len(all), took.Round(time.Millisecond))
	return sent
}

// stand waits until the status of every command is as it is to be.
func stand(t *testing.T, p *place, all []*commands.Command, fine func(commands.Status) bool) {
	t.Helper()
	ids := make([]commands.ID, len(all))
	for i, c := range all {
		ids[i] = c.ID
	}
	ask := newClient(t, p.url())
	late := time.Now().Add(patience)
	for waits := true; waits; {
		require.True(t, time.Now().Before(late), "commands have not come to stand where they should")
		views, err := ask.Status(soon(t), ids...)
		require.NoError(t, err)
		waits = slices.ContainsFunc(views, func(v commands.CommandView) bool { return !fine(v.Status) })
		if waits {
			pass(20 * time.Millisecond)
		}
	}
}

// DESIGN section 7: the distributed mode in one process, with all roles.
func TestOneProcessOverRabbitMQ(t *testing.T) {
	t.Parallel()
	random := seed(t)
	p := overRabbitMQ(t)
	server := p.start(t)
	stream, session := commands.Stream{Type: "ledger", ID: commands.NewID().String()}, commands.NewID().String()
	watching := newFollower(t, p.url(), &follower{
		name: "steady", streams: []commands.Stream{stream}, session: session, deliver: "events", random: random,
	})
	watching.await("it has its first mark", func() bool { return watching.begun })

	var chain []*commands.Command
	ticket := commands.Genesis
	for range 40 {
		c := command(stream, "add", ticket, added{1})
		ofSession(c, session)
		chain, ticket = append(chain, c), c.ID
	}
	requests := alone(chain)
	random.Shuffle(len(requests), func(i, j int) { requests[i], requests[j] = requests[j], requests[i] })
	s := newSender(t, p.url(), 4)
	s.add(requests)
	s.sendAll()
	ask := newClient(t, p.url())
	view, err := ask.Await(soon(t), ticket)
	require.NoError(t, err)
	require.Equal(t, commands.StatusLanded, view.Status)
	require.EqualValues(t, len(chain), view.Version)

	stale := command(stream, "add", chain[3].ID, added{1})
	ofSession(stale, session)
	view, err = ask.Send(soon(t), *stale, client.SendOptions{Wait: client.MaxWait})
	require.NoError(t, err)
	require.Equal(t, commands.StaleTicket, view.Reason)
	require.Equal(t, ticket, view.Ticket)
	next := command(stream, "add", view.Ticket, added{1})
	ofSession(next, session)
	view, err = ask.Send(soon(t), *next, client.SendOptions{Wait: client.MaxWait})
	require.NoError(t, err)
	require.Equal(t, commands.StatusLanded, view.Status)

	watching.check(audit(t, p.url(), append(s.commands(), stale, next)))
	require.Eventually(t, func() bool {
		_, listed := answer(t, p, "/v1/streams?type=ledger")
		return strings.Contains(listed, stream.String()) && strings.Contains(listed, next.ID.String())
	}, patience, 20*time.Millisecond)
	server.stop()
}

// Promises 1 to 4, 6 and 10 over several processes, of which one is killed with kill -9 and another joins
// while commands come: whatever got a 202 has one outcome, and soon.
func TestWorkersComeAndGo(t *testing.T) {
	t.Parallel()
	random := seed(t)
	gate := overRabbitMQ(t)
	gateway := gate.start(t, "--roles", "gateway")
	status, text := answer(t, gate, "/readyz")
	require.Equal(t, http.StatusOK, status, "DESIGN section 3: a gateway is ready, workers or not: %s", text)
	staying, dying, joining := gate.beside(t), gate.beside(t), gate.beside(t)
	stays := staying.start(t, "--roles", "worker,projector")
	status, text = answer(t, staying, "/v1/limits")
	require.Equal(t, http.StatusNotFound, status, "no gateway's role: %s", text)
	require.Contains(t, text, `"code":"not_found"`)
	status, text = answer(t, staying, "/readyz")
	require.Equal(t, http.StatusOK, status, text)
	dies := dying.start(t, "--roles", "worker")
	require.Positive(t, metric(t, dying, "doorman_lanes"))
	sent := allLand(t, gate, begin(), 10*time.Second)

	load := newPlan(random, 40, 3)
	requests := load.requests()
	s := newSender(t, gate.url(), 8)
	s.add(requests[:len(requests)/2])
	s.resume()
	s.await("commands are accepted", func() bool { return len(s.accepted) >= load.size/8 })
	linger(random)
	dies.kill()
	sent = append(sent, allLand(t, gate, begin(), 10*time.Second)...)

	s.add(requests[len(requests)/2:])
	joins := joining.start(t, "--roles", "worker")
	s.sendAll()
	s.add(alone(load.heldBack))
	s.sendAll()
	require.Len(t, s.commands(), load.size)
	require.Positive(t, metric(t, joining, "doorman_lanes"))
	sent = append(sent, allLand(t, gate, begin(), 10*time.Second)...)
	require.Positive(t, metric(t, joining, `doorman_outcomes_total{reason="",status="landed",type="ledger"}`), "it judges")

	sent = append(sent, s.commands()...)
	// What was accepted may still be on its way to a worker.
	stand(t, gate, sent, func(status commands.Status) bool { return status != commands.StatusUnknown })
	found := audit(t, gate.url(), sent)
	t.Logf("%d landed, rejected %v", found.landed, found.rejected)
	joins.stop()
	stays.stop()
	gateway.stop()
}

// Two deployments with one prefix on different databases would work off each other's commands: a 202 of the
// one would land in the log of the other.
func TestAPrefixIsOneLogsAlone(t *testing.T) {
	t.Parallel()
	first := overRabbitMQ(t)
	serving := first.start(t)
	second := onPostgres(t)
	second.args = append(second.args, first.args[len(first.args)-2:]...) // --rabbitmq-prefix
	second.environ = append(second.environ, first.environ[len(first.environ)-1])
	for _, roles := range []string{"gateway", "worker", "gateway,worker,projector"} {
		refused := second.spawn(t, "--roles", roles)
		require.Positive(t, refused.exit(), "%s", refused.log)
		told := refused.log.String()
		require.Regexp(t, `belong to another log \(epoch [0-9a-f]{16}\), as the queue test_[a-z0-9]+\.epoch says`, told)
		require.Contains(t, told, "set rabbitmq_prefix to another one; or, if the other log is no more (restored or reset), delete the queues")
		require.NotContains(t, told, "msg=ready")
	}
	allLand(t, first, begin(), 10*time.Second)
	serving.stop()
	first.start(t).stop()
}
