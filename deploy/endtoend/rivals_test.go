//go:build unix

package endtoend

import (
	"fmt"
	"maps"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store/postgres/postgrestest"
	"github.com/ticketed/doorman/commands"
)

const oneTooMany = "Without rabbitmq_url only one can: stop the other one, or give both the rabbitmq_url of one broker"

// Without RabbitMQ two processes on one schema would take the lanes from each other all the time. The second one does not
// start; and does at once when the first was killed, however that was.
func TestASecondProcessOnOneSchemaStartsWhenTheFirstIsDead(t *testing.T) {
	t.Parallel()
	p := onPostgres(t)
	other := p.beside(t)
	first := p.start(t)
	second := other.spawn(t, "--store-wait", "0s")
	require.Equal(t, 1, second.exit())
	require.Regexp(t, fmt.Sprintf(`(?m)^doorman: another process serves this store \(.*\): \S+ pid %d\. %s$`, first.child.Process.Pid, oneTooMany),
		second.log.String())
	first.kill()
	other.start(t, "--store-wait", "5s")
}

// A process whose connection to the database was cut off, and which somebody has replaced meanwhile, ends when it is back.
// Until it knows, the two take the lanes from each other, which costs nobody a command.
func TestAProcessThatWasReplacedWhileItWasAwayEndsAndLosesNothing(t *testing.T) {
	t.Parallel()
	p := onPostgres(t)
	other := p.beside(t)
	first := p.start(t)
	load := newPlan(seed(t), 60, 3)
	one, two := newSender(t, p.url(), 8), newSender(t, other.url(), 8)
	one.add(load.requests())
	one.resume()
	one.await("some are accepted", func() bool { return len(one.accepted) > load.size/10 })
	first.signal(syscall.SIGSTOP)
	_, err := postgrestest.Connect(t).Exec(t.Context(), `
select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'doorman hold %' and application_name like $1`,
		fmt.Sprintf("%% pid %d", first.child.Process.Pid))
	require.NoError(t, err)
	other.start(t)
	two.add(load.requests())
	two.resume()
	two.await("some are accepted", func() bool { return len(two.accepted) > load.size/10 })

	first.signal(syscall.SIGCONT) // with what it had taken still in hand
	require.Equal(t, 1, first.exit())
	require.Contains(t, first.log.String(), "while this process had no session of the database: another process serves this store (")
	require.Contains(t, first.log.String(), "lane was taken over", "they never met")
	one.pause()
	two.add(alone(load.heldBack))
	two.sendAll()
	require.Len(t, union(one, two), load.size)
	audit(t, other.url(), union(one, two))
}
func union(senders ...*sender) []*commands.Command {
	all := map[commands.ID]*commands.Command{}
	for _, s := range senders {
		for _, c := range s.commands() {
			all[c.ID] = c
		}
	}
	return slices.Collect(maps.Values(all))
}
