//go:build unix

package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store/postgres/postgrestest"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
	"github.com/ticketed/doorman/commands/client"
)

// patience is how long anything may take that is bound to happen and has no limit of its own.
const patience = time.Minute

// cluster is a deployment with a database and a broker of its own: two gateways and two workers.
type cluster struct {
	folder   string // of the processes' logs
	database *postgrestest.Server
	broker   *rabbitmqtest.Broker
	gateways []*process
	workers  []*process
	journal  *journal
	found    *complaints
	audited  *published
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{folder: t.TempDir(), database: postgrestest.NewServer(t, rabbitmqtest.FreeAddress(t)), broker: rabbitmqtest.NewBroker(t), found: &complaints{}}
	c.database.Start()
	for i := range 2 {
		c.gateways = append(c.gateways, c.newProcess(t, fmt.Sprintf("gateway%d", i+1), "gateway"))
		c.workers = append(c.workers, c.newProcess(t, fmt.Sprintf("worker%d", i+1), "worker,projector"))
	}
	c.audited = newPublished(t, c.broker.URL(), c.found)
	t.Cleanup(func() {
		for _, p := range c.processes() {
			p.kill()
		}
	})
	for _, p := range c.processes() { // one after another: the first makes the schema
		p.start(t)
		c.ready(t, p)
	}
	c.journal = newJournal(t, c.database.URL(), c.found)
	c.shared(t)
	return c
}

func (c *cluster) processes() []*process { return slices.Concat(c.gateways, c.workers) }

// ready waits until a process says that it is.
func (c *cluster) ready(t *testing.T, p *process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	asking, err := client.New(client.Config{BaseURL: p.url()})
	require.NoError(t, err)
	if err := asking.AwaitReady(ctx); err != nil {
		log, _ := os.ReadFile(p.log)
		require.FailNow(t, p.name+" does not become ready", "%v\n%s", err, log[max(0, len(log)-4<<10):])
	}
}

const lanesOwned = `select lane from doorman.lanes where owner like '%' || $1 order by lane`

// owned are the lanes that a process has.
func (c *cluster) owned(t *testing.T, p *process) []int {
	t.Helper()
	return query[int](t, c.database.URL(), lanesOwned, p.owns())
}

// shared waits until each worker has its share of the lanes.
func (c *cluster) shared(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); ; {
		if !slices.ContainsFunc(c.workers, func(w *process) bool { return len(c.owned(t, w)) != lanes/len(c.workers) }) {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			require.FailNow(t, "the lanes are not shared out", "%v and %v", c.owned(t, c.workers[0]), c.owned(t, c.workers[1]))
		}
	}
}

// logged looks at what the processes have said since it was asked last: none may have ended by itself, and
// under the race detector none may have a race.
func (c *cluster) logged() {
	for _, p := range c.processes() {
		if !p.runs() {
			c.found.add("%s has ended: %s", p.name, p.child.ProcessState)
		}
		log, err := os.ReadFile(p.log)
		if err != nil {
			c.found.add("%v", err)
		}
		for _, bad := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: "} {
			if at := bytes.Index(log, []byte(bad)); at >= 0 {
				c.found.add("%s says %s", p.name, log[at:min(len(log), at+2<<10)])
			}
		}
	}
}

// copyLogs keeps what the processes, the database and the broker have said so far.
func (c *cluster) copyLogs(folder string) error {
	logs := map[string]string{"postgres.log": c.database.Log(), "rabbitmq.log": c.broker.Log()}
	for _, p := range c.processes() {
		logs[filepath.Base(p.log)] = p.log
	}
	var failed error
	for name, log := range logs {
		said, err := os.ReadFile(log)
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, name), said, 0o600)
		}
		failed = errors.Join(failed, err)
	}
	return failed
}
