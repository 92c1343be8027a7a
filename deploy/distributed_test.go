package deploy

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

// overRabbitMQ is a configuration with a schema and queues of its own, over ways to both servers that can be
// cut.
func overRabbitMQ(t *testing.T) (c *Config, store, broker *cutWire) {
	t.Helper()
	c, store = onCuttablePostgres(t)
	queues := rabbitmqtest.Config(t)
	address, err := url.Parse(queues.URL)
	require.NoError(t, err)
	broker = cuttable(t, address.Host)
	address.Host = broker.Addr().String()
	c.RabbitMQURL, c.RabbitMQPrefix = address.String(), queues.Prefix
	return c, store, broker
}

// DESIGN section 3: a gateway is ready when bus and store answer, workers or not; what is refused as
// unavailable was not accepted.
func TestAGatewayAloneAsksForStoreAndBusOnly(t *testing.T) {
	t.Parallel()
	c, store, broker := overRabbitMQ(t)
	c.Roles = []string{RoleGateway}
	_, call := start(t, c)
	require.NoError(t, call.Ready(t.Context()))
	told, err := call.Send(t.Context(), create(`{}`), client.SendOptions{})
	require.NoError(t, err)
	require.Equal(t, commands.StatusAccepted, told.Status, "it waits for a worker")

	for part, way := range map[string]*cutWire{"store": store, "bus": broker} {
		way.set(true)
		require.Eventually(t, func() bool { // the fate of the first may be unknown
			refused := create(`{}`)
			answer := call.do("POST", "/v1/commands", string(refused.AppendTo(nil)), "Content-Type: application/json")
			return answer.status == http.StatusServiceUnavailable && strings.Contains(answer.body, `"code":"unavailable"`)
		}, 30*time.Second, 10*time.Millisecond, part)
		require.Contains(t, call.do("GET", "/readyz", "").body, `"missing":[{"part":"`+part+`","detail":"`)
		require.Equal(t, http.StatusOK, call.do("GET", "/livez", "").status)
		way.set(false)
		require.NoError(t, call.AwaitReady(t.Context()), "it recovers by itself")
		require.Eventually(t, func() bool {
			next := create(`{}`)
			return call.do("POST", "/v1/commands", string(next.AppendTo(nil)), "Content-Type: application/json").status == http.StatusAccepted
		}, 30*time.Second, 10*time.Millisecond, part)
	}
}

// DESIGN section 3: /livez and /readyz "on every process, whatever its roles"; nothing else without a
// gateway's.
func TestAWorkerServesHealthAlone(t *testing.T) {
	t.Parallel()
	c, _, broker := overRabbitMQ(t)
	c.Roles = []string{RoleWorker}
	_, call := start(t, c)
	require.Equal(t, http.StatusOK, call.do("GET", "/livez", "").status)
	require.JSONEq(t, `{"status":"ready"}`, call.do("GET", "/readyz", "").body)
	for _, path := range []string{"/", "/openapi.json", "/v1/limits", "/v1/commands", "/v1/notifications", "/problems/stale_ticket"} {
		answer := call.do("GET", path, "")
		require.Equal(t, http.StatusNotFound, answer.status, path)
		require.Contains(t, answer.body, `"code":"not_found"`, path)
	}
	broker.set(true)
	require.Eventually(t, func() bool {
		return call.do("GET", "/readyz", "").status == http.StatusServiceUnavailable
	}, 30*time.Second, 10*time.Millisecond)
	require.Contains(t, call.do("GET", "/readyz", "").body, `{"part":"bus","detail":"`)
	broker.set(false)
	require.NoError(t, call.AwaitReady(t.Context()), "it recovers by itself")
}

func TestABrokerThatDoesNotAnswerIsToldWithoutItsPassword(t *testing.T) {
	t.Parallel()
	for _, role := range []string{RoleGateway, RoleWorker} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			c := onPostgres(t)
			c.RabbitMQURL, c.StoreWait, c.Roles = "amqp://u:geheim@127.0.0.1:1", 500*time.Millisecond, []string{role}
			p, err := New(c, builtIn())
			require.NoError(t, err)
			err = p.Start(t.Context())
			require.ErrorContains(t, err, "RabbitMQ (amqp://u:xxxxx@127.0.0.1:1) did not answer within 500ms: ")
			require.NotContains(t, err.Error(), "geheim")
		})
	}
}
