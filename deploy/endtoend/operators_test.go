//go:build unix

package endtoend

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

// tryReject has an operator at a gateway reject a parked command, and gives what is answered.
func (p *place) tryReject(ctx context.Context, id commands.ID) (status int, text string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.admin+"/admin/v1/parked/"+id.String()+"/reject",
		strings.NewReader(`{"by":"Olga","why":"a mistake"}`))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := p.operator.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

func (p *place) reject(t *testing.T, id commands.ID) (status int, text string) {
	t.Helper()
	status, text, err := p.tryReject(soon(t), id)
	require.NoError(t, err)
	return status, text
}

// waitingChain parks commands on one stream, each behind the one before and of a session of its own.
func waitingChain(t *testing.T, p *place, length int) []*commands.Command {
	t.Helper()
	stream := commands.Stream{Type: "ledger", ID: commands.NewID().String()}
	var chain []*commands.Command
	ticket := commands.NewID() // which never comes
	for range length {
		c := command(stream, "add", ticket, added{1})
		ofSession(c, commands.NewID().String())
		chain, ticket = append(chain, c), c.ID
	}
	for _, result := range newClient(t, p.url()).SendAll(soon(t), commandsOf(chain), client.SendOptions{}) {
		require.NoError(t, result.Err)
	}
	stand(t, p, chain, func(status commands.Status) bool { return status == commands.StatusParked })
	return chain
}

func commandsOf(chain []*commands.Command) []commands.Command {
	all := make([]commands.Command, len(chain))
	for i, c := range chain {
		all[i] = *c
	}
	return all
}

// isRejected: the first by the operator, the others along with it.
func isRejected(t *testing.T, p *place, chain []*commands.Command) {
	t.Helper()
	for i, c := range chain {
		views, err := newClient(t, p.url()).Status(soon(t), c.ID)
		require.NoError(t, err)
		require.Equal(t, chain[0].ID, views[0].Root)
		if i == 0 {
			require.Equal(t, commands.RejectedByOperator, views[0].Reason)
			require.Equal(t, "rejected by Olga: a mistake", views[0].Detail)
		} else {
			require.Equal(t, commands.PredecessorRejected, views[0].Reason)
			require.Equal(t, commands.RejectedByOperator, views[0].RootReason)
		}
	}
}

// DESIGN section 2: an operator may reject a parked command, and it cascades: over one gateway, on lanes that are
// worked elsewhere, and each session is told on whatever gateway it is.
func TestAnOperatorRejectsWhatIsParkedElsewhere(t *testing.T) {
	t.Parallel()
	a, b, _ := gateways(t)
	for range 4 { // on several lanes
		chain := waitingChain(t, b, 5)
		var followers []*follower
		for i, c := range chain {
			p := []*place{a, b}[i%2]
			f := newFollower(t, p.url(), &follower{name: fmt.Sprint("session ", i), session: c.Session, deliver: "state",
				random: rand.New(rand.NewPCG(1, uint64(i)))})
			f.await("it has its first mark", func() bool { return f.begun })
			followers = append(followers, f)
		}
		began := time.Now()
		status, text := a.reject(t, chain[0].ID)
		require.Equal(t, 200, status, text)
		t.Logf("rejected after %s", time.Since(began).Round(time.Millisecond))
		for i, f := range followers {
			f.await("it is told", func() bool { return f.own[chain[i].ID].status == commands.StatusRejected })
		}
		isRejected(t, b, chain)
		status, text = b.reject(t, chain[1].ID)
		require.Equal(t, 409, status, text)
	}
	status, text := a.reject(t, commands.NewID())
	require.Equal(t, 404, status, text)
}

// Promise 1 for an order: what was on its way to a worker that dies is carried out by the next one, once.
func TestAnOrderOutlivesTheWorkerThatIsKilled(t *testing.T) {
	t.Parallel()
	gate := overRabbitMQ(t)
	gateway := gate.start(t, "--roles", "gateway")
	working := gate.beside(t)
	worker := working.start(t, "--roles", "worker")
	for round := range 3 {
		chain := waitingChain(t, gate, 4)
		worker.signal(syscall.SIGSTOP) // between taking the order and committing it
		answered := make(chan int, 1)
		ctx := soon(t)
		go func() {
			status, _, _ := gate.tryReject(ctx, chain[0].ID)
			answered <- status // 0 for none
		}()
		if !gateway.says("a parked command\" command_id=" + chain[0].ID.String()) {
			require.FailNow(t, "the order was not sent")
		}
		worker.kill()
		worker = working.start(t, "--roles", "worker")
		status := <-answered
		t.Logf("round %d: answered %d", round, status)
		require.Contains(t, []int{200, 202}, status, "202 when the new worker has the lane too late for the answer")
		stand(t, gate, chain, func(status commands.Status) bool { return status == commands.StatusRejected })
		isRejected(t, gate, chain)
		again, text := gate.reject(t, chain[0].ID)
		require.Equal(t, 200, again, text)
	}
	worker.stop()
	gateway.stop()
}
