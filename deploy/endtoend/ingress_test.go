//go:build unix

package endtoend

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/postgres"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
	"github.com/ticketed/doorman/commands"
)

// publisher is another service that sends commands over the broker, each until that is confirmed.
type publisher struct {
	t        *testing.T
	channel  *amqp.Channel
	exchange string
}

func newPublisher(t *testing.T, p *place) *publisher {
	t.Helper()
	channel, err := rabbitmqtest.Connect(t).Channel()
	require.NoError(t, err)
	require.NoError(t, channel.Confirm(false))
	return &publisher{t: t, channel: channel, exchange: p.argument("--rabbitmq-prefix") + ".commands"}
}

// publish returns once the broker has confirmed every message.
func (p *publisher) publish(messages ...amqp.Publishing) {
	p.t.Helper()
	for len(messages) > 0 {
		confirms := make([]*amqp.DeferredConfirmation, len(messages))
		for i := range messages {
			messages[i].DeliveryMode = amqp.Persistent
			var err error
			confirms[i], err = p.channel.PublishWithDeferredConfirm(p.exchange, "", false, false, messages[i])
			require.NoError(p.t, err)
		}
		var again []amqp.Publishing
		for i, confirm := range confirms {
			if !confirm.Wait() {
				again = append(again, messages[i])
			}
		}
		if messages = again; len(again) > 0 {
			pass(10 * time.Millisecond)
		}
	}
}

func messagesOf(requests [][]*commands.Command) (all []amqp.Publishing) {
	for _, request := range requests {
		all = append(all, amqp.Publishing{Body: body(request)})
	}
	return all
}

// Whatever the broker has confirmed is accepted once, or refused, though the gateways that take it are killed with
// kill -9 while it comes (DESIGN section 4, promises 1 to 4, 6 and 10).
func TestKillingGatewaysLosesAndDoublesNothingOfOtherServices(t *testing.T) {
	t.Parallel()
	random := seed(t)
	a := overRabbitMQ(t)
	b := a.beside(t)
	dying := []*process{a.start(t, "--roles", "gateway"), b.start(t, "--roles", "gateway")}
	at := []*place{a, b}
	worker := a.beside(t).start(t, "--roles", "worker,projector")

	load := newPlan(random, 120, 3)
	messages := messagesOf(load.requests())
	refused := map[string]commands.ID{} // by body
	for range 200 {
		id := commands.NewID()
		text := fmt.Sprintf(`{"id":%q,"stream":"bag/1","type":"add","ticket":"genesis"}`, id)
		refused[text] = id
		at := random.IntN(len(messages))
		messages = append(messages[:at], append([]amqp.Publishing{{Body: []byte(text)}}, messages[at:]...)...)
	}
	s := newPublisher(t, a)
	for kill := range 2 * kills {
		share := len(messages) / (2*kills - kill)
		s.publish(messages[:share]...)
		messages = messages[share:]
		linger(random)
		which := kill % 2
		dying[which].kill()
		dying[which] = at[which].start(t, "--roles", "gateway")
	}
	require.Empty(t, messages)
	s.publish(messagesOf(alone(load.heldBack))...)

	var all []*commands.Command
	seen := map[commands.ID]bool{}
	for _, c := range load.queue {
		if !seen[c.ID] {
			all = append(all, c.Command)
		}
		seen[c.ID] = true
	}
	all = append(all, load.heldBack...)
	require.Len(t, all, load.size)
	stand(t, a, all, func(status commands.Status) bool { return status != commands.StatusUnknown })
	found := audit(t, a.url(), all)
	t.Logf("%d landed, rejected %v", found.landed, found.rejected)

	letters := map[string]int{}
	require.Eventually(t, func() bool {
		letters = keptLetters(t, a)
		return len(letters) >= len(refused)
	}, patience, 100*time.Millisecond)
	twice := 0
	for text, n := range letters {
		require.Contains(t, refused, text, "nothing else was refused")
		if n > 1 {
			twice++
		}
	}
	// A gateway that is killed while the store has not begun to keep what it was sent may have that kept after another one.
	t.Logf("%d of %d letters are there twice", twice, len(letters))
	require.LessOrEqual(t, twice, len(letters)/10)
	for _, id := range refused {
		status, text := answer(t, a, "/v1/commands/"+id.String())
		require.Equal(t, 404, status, text)
	}
	for _, gateway := range dying {
		gateway.stop()
	}
	worker.stop()
}

// keptLetters are the bodies of refused messages that the store keeps, and how often.
func keptLetters(t *testing.T, p *place) map[string]int {
	t.Helper()
	s, err := postgres.Open(t.Context(), postgres.Config{
		URL: strings.TrimPrefix(p.environ[0], "DOORMAN_POSTGRES_URL="), Schema: p.argument("--postgres-schema"),
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	bodies, after := map[string]int{}, uint64(0)
	for {
		page, err := s.DeadLetters(t.Context(), store.DeadQuery{After: after, Limit: 100, Origin: store.OriginAMQP})
		require.NoError(t, err)
		if len(page) == 0 {
			return bodies
		}
		for _, l := range page {
			whole, err := s.DeadLetter(t.Context(), l.N)
			require.NoError(t, err)
			bodies[string(whole.Message.Body)]++
			after = l.N
		}
	}
}

// A real log comes to the same in any order, whoever sends it how: one message a command, shuffled, and some of it
// twice.
func TestARealLogComesToTheSameOverRabbitMQ(t *testing.T) {
	t.Parallel()
	random := seed(t)
	p := overRabbitMQ(t)
	server := p.start(t)
	lines := linesOf(t, processLog(t))
	want := foldOf(t, lines)
	require.Len(t, want, permits)

	var messages []amqp.Publishing
	for _, line := range shuffled(random, lines, 64) {
		messages = append(messages, amqp.Publishing{Body: []byte(line)})
		if random.IntN(20) == 0 {
			messages = append(messages, amqp.Publishing{Body: []byte(line)})
		}
	}
	s := newPublisher(t, p)
	for len(messages) > 0 {
		n := min(len(messages), 1000)
		s.publish(messages[:n]...)
		messages = messages[n:]
	}
	require.Eventually(t, func() bool { return metric(t, p, landings) == len(lines) }, patience, 50*time.Millisecond)
	ask := newClient(t, p.url())
	for stream, at := range want {
		view, err := ask.Stream(soon(t), stream)
		require.NoError(t, err)
		require.Equal(t, at.ticket, view.Ticket)
		state, err := json.Marshal(at.state)
		require.NoError(t, err)
		require.JSONEq(t, string(state), string(view.State), "%s", stream)
	}
	server.stop()
}

func linesOf(t *testing.T, path string) (lines []string) {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	var from io.Reader = file
	if strings.HasSuffix(path, ".gz") {
		from, err = gzip.NewReader(file)
		require.NoError(t, err)
	}
	each := bufio.NewScanner(from)
	each.Buffer(nil, 1<<20)
	for each.Scan() {
		lines = append(lines, each.Text())
	}
	require.NoError(t, each.Err())
	return lines
}

// come is what a document comes to.
type come struct {
	ticket commands.ID
	state  map[string]any
}

// foldOf applies lines in their order; none of them changes more than members of the document.
func foldOf(t *testing.T, lines []string) map[commands.Stream]*come {
	t.Helper()
	all := map[commands.Stream]*come{}
	for _, line := range lines {
		c, err := commands.Decode([]byte(line))
		require.NoError(t, err)
		at := all[c.Stream]
		if at == nil {
			at = &come{state: map[string]any{}}
			all[c.Stream] = at
		}
		var data map[string]any
		require.NoError(t, json.Unmarshal(c.Data, &data))
		for name, value := range data {
			require.NotNil(t, value, "it would be taken out")
			_, deep := value.(map[string]any)
			require.False(t, deep, "it would be merged")
			at.state[name] = value
		}
		at.ticket = c.ID
	}
	return all
}

// shuffled has each line up to so many places from its own.
func shuffled(random *rand.Rand, lines []string, within int) []string {
	mixed := make([]string, 0, len(lines))
	var waiting []string
	for _, line := range lines {
		if waiting = append(waiting, line); len(waiting) == within {
			i := random.IntN(within)
			mixed = append(mixed, waiting[i])
			waiting = append(waiting[:i], waiting[i+1:]...)
		}
	}
	random.Shuffle(len(waiting), func(i, j int) { waiting[i], waiting[j] = waiting[j], waiting[i] })
	return append(mixed, waiting...)
}
