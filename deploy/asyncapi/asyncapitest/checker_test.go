package asyncapitest_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/document"
	"github.com/ticketed/doorman/aggregate/order"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/deploy/asyncapi"
	"github.com/ticketed/doorman/deploy/asyncapi/asyncapitest"
	"github.com/ticketed/doorman/deploy/chains"
	"github.com/ticketed/doorman/deploy/schemas/schemastest"
)

func described(t *testing.T) []byte {
	t.Helper()
	types, err := aggregate.NewRegistry(order.Type(), document.Type())
	require.NoError(t, err)
	text, err := asyncapi.Build(asyncapi.Config{
		Types: types, Examples: chains.All(types), Prefix: "doorman", Limits: commands.LimitsView{MaxArray: 2},
	})
	require.NoError(t, err)
	return text
}

func checker(t *testing.T) *asyncapitest.Checker {
	t.Helper()
	c, err := asyncapitest.New(described(t))
	require.NoError(t, err)
	return c
}

// passed is a message that is as the document says, and changed by the case.
func passed(change func(*asyncapitest.Message)) *asyncapitest.Message {
	o := commands.Outcome{
		ID: commands.NewID(), Stream: commands.Stream{Type: "order", ID: "7"}, Position: 7, Version: 1,
		Events: []commands.Event{{Type: "line_removed", Schema: 1, Data: []byte(`{"sku":"A1"}`)}},
	}
	e := commands.NewCloudEvent("doorman/e", "e", &o, 0)
	m := &asyncapitest.Message{
		Exchange: "doorman.events", RoutingKey: "order.line_removed", Headers: maps.Clone(e.Headers()), Body: e.Data,
		Properties: map[string]any{"content_type": "application/json", "delivery_mode": 2, "message_id": e.ID},
	}
	change(m)
	return m
}

// outcome makes it one about an outcome.
func outcome(status, body string) func(*asyncapitest.Message) {
	return func(m *asyncapitest.Message) {
		m.Exchange, m.RoutingKey, m.Headers, m.Body = "doorman.outcomes", "order."+status, nil, []byte(body)
		m.Properties["message_id"] = "e-7"
	}
}

// sent makes it one that somebody sends.
func sent(body string) func(*asyncapitest.Message) {
	return func(m *asyncapitest.Message) {
		m.Exchange, m.RoutingKey, m.Headers, m.Body = "doorman.commands", "any", map[string]any{"mine": 7}, []byte(body)
		m.Properties = map[string]any{"content_type": "application/json; charset=utf-8", "reply_to": "shop.replies", "app_id": "shop"}
	}
}

// reply makes it an answer.
func reply(contentType, body string) func(*asyncapitest.Message) {
	return func(m *asyncapitest.Message) {
		m.Exchange, m.RoutingKey, m.Headers, m.Body = "", "shop.replies", nil, []byte(body)
		m.Properties["content_type"] = contentType
	}
}

// letter makes it a dead letter, whose body is anything.
func letter(key string, headers map[string]any) func(*asyncapitest.Message) {
	return func(m *asyncapitest.Message) {
		m.Exchange, m.RoutingKey, m.Body = "doorman.dead", key, []byte("{")
		m.Headers = map[string]any{"x-doorman-number": 7, "x-doorman-reason": "malformed", "x-doorman-at": "2026-11-02T09:30:00.250000Z"}
		maps.Copy(m.Headers, headers)
	}
}

func both(changes ...func(*asyncapitest.Message)) func(*asyncapitest.Message) {
	return func(m *asyncapitest.Message) {
		for _, change := range changes {
			change(m)
		}
	}
}

const (
	submit  = `{"stream":"order/7","type":"submit","ticket":"genesis"}`
	refused = `{"type":"/problems/malformed","title":"t","status":400,"code":"malformed"}`

	id     = "01900000-0000-7000-8000-000000000001"
	landed = `{"id":"` + id + `","stream":"order/7","type":"submit","status":"landed","position":"e-7","version":1,"ticket":"` + id + `"}`
)

// The check is only worth something if it finds what it is meant to find.
func TestWhatIsNotInTheDocumentIsFound(t *testing.T) {
	t.Parallel()
	c := checker(t)
	for name, row := range map[string]struct {
		change func(*asyncapitest.Message)
		found  string // empty: it is as the document says
	}{
		"as it should be":         {func(*asyncapitest.Message) {}, ""},
		"with a trace":            {header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ""},
		"an outcome":              {outcome("landed", landed), ""},
		"another exchange":        {func(m *asyncapitest.Message) { m.Exchange = "doorman.news" }, "no channel"},
		"another key":             {func(m *asyncapitest.Message) { m.RoutingKey = "order.line_added" }, "it is no order.line_added"},
		"an unknown key":          {func(m *asyncapitest.Message) { m.RoutingKey = "order.flown" }, "no message with the routing key"},
		"a key of three words":    {func(m *asyncapitest.Message) { m.RoutingKey += ".x" }, "no message with the routing key"},
		"an unknown type":         {func(m *asyncapitest.Message) { outcome("landed", landed)(m); m.RoutingKey = "ghost.landed" }, `"ghost"`},
		"a header too many":       {header("cloudEvents_session", "s3cret"), "headers"},
		"a header of its own":     {header("cloudEvents_sequence", "0"), "headers"},
		"a header that is a list": {header("cloudEvents_subject", []any{"order/7"}), "headers"},
		"a header missing":        {func(m *asyncapitest.Message) { delete(m.Headers, "cloudEvents_time") }, "headers"},
		"another source":          {header("cloudEvents_source", "other/e"), "headers"},
		"a property too many":     {property("user_id", "guest"), "x-properties"},
		"a property missing":      {func(m *asyncapitest.Message) { delete(m.Properties, "message_id") }, "x-properties"},
		"not persistent":          {property("delivery_mode", 1), "x-properties"},
		"another content type":    {property("content_type", "text/plain"), "content_type"},
		"a member too many":       {body(`{"sku":"A1","qty":1}`), "its body"},
		"a member missing":        {body(`{}`), "its body"},
		"no JSON":                 {body(`{`), "no JSON"},
		"a state":                 {outcome("landed", strings.Replace(landed, `"version"`, `"state":{},"version"`, 1)), "its body"},
		"a command":               {sent(submit), ""},
		"two":                     {sent("[" + submit + "," + submit + "]"), ""},
		"three":                   {sent("[" + submit + "," + submit + "," + submit + "]"), "it is no array"},
		"an unknown command":      {sent(`{"stream":"order/7","type":"fly","ticket":"genesis"}`), "it is no order.submit"},
		"of another type":         {sent(`{"stream":"document/7","type":"submit","ticket":"genesis"}`), "it is no order.submit"},
		"with strange data":       {sent(`{"stream":"order/7","type":"submit","ticket":"genesis","data":{"x":1}}`), "it is no order.submit"},
		"answered into a lane":    {both(sent(submit), property("reply_to", "doorman.lane.3")), "x-properties"},
		"compressed":              {both(sent(submit), property("content_encoding", "gzip")), "x-properties"},
		"sent as text":            {both(sent(submit), property("content_type", "text/plain")), "x-properties"},
		"an answer":               {reply("application/json", landed), ""},
		"a refusal":               {reply("application/problem+json", refused), ""},
		"a refusal as an outcome": {reply("application/json", refused), "it is no refused"},
		"a dead letter":           {letter("amqp.malformed", map[string]any{"x-doorman-origin": "amqp"}), ""},
		"one of nobody's":         {letter("web.malformed", map[string]any{"x-doorman-origin": "web"}), "routing key"},
		"one without a number":    {letter("amqp.malformed", map[string]any{"x-doorman-origin": "amqp", "x-doorman-number": 0}), "headers"},
		"landed, by its key not":  {outcome("rejected", landed), "its body"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.Check(passed(row.change))
			if row.found == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, row.found)
		})
	}
}

func header(name string, value any) func(*asyncapitest.Message) {
	return func(m *asyncapitest.Message) { m.Headers[name] = value }
}

func property(name string, value any) func(*asyncapitest.Message) {
	return func(m *asyncapitest.Message) { m.Properties[name] = value }
}

func body(text string) func(*asyncapitest.Message) {
	return func(m *asyncapitest.Message) { m.Body = []byte(text) }
}

func TestWhatPassedIsRemembered(t *testing.T) {
	t.Parallel()
	c := checker(t)
	require.Contains(t, c.Unmet(), "events order.line_removed")
	all := len(c.Unmet())
	c.Observe(passed(func(*asyncapitest.Message) {}))
	require.Empty(t, c.Complaints())
	require.Len(t, c.Unmet(), all-1)
	for range 60 {
		c.Observe(passed(body("{}")))
	}
	require.Len(t, c.Complaints(), 50)
	require.Contains(t, c.Complaints()[0], "its body")
}

// Each rule of structure is broken once.
func TestFaultsOfADocumentAreFound(t *testing.T) {
	t.Parallel()
	read := func(text []byte) error {
		_, err := asyncapitest.New(text)
		return err
	}
	schemastest.RequireFound(t, described(t), read, map[string][3]string{
		"reference":   {`"payload":{"$ref":"#/components/schemas/Landed"}`, `"payload":{"$ref":"#/components/schemas/Landet"}`, "which is not there"},
		"unused":      {`"schemas":{`, `"schemas":{"Spare":{},`, "nothing refers to"},
		"name":        {`"schemas":{`, `"schemas":{"a b":{},`, "no name for a component"},
		"version":     {`"asyncapi":"3.0.0"`, `"asyncapi":"2.6.0"`, "asyncapi is"},
		"title":       {`"title":"Doorman"`, `"title":""`, "no title"},
		"parameter":   {`"{stream_type}.{status}"`, `"{stream_type}.{state}"`, "state is not declared"},
		"spare":       {`"{stream_type}.{status}"`, `"{stream_type}"`, "does not have"},
		"action":      {`"action":"send"`, `"action":"shout"`, "its action is"},
		"channel":     {`"channel":{"$ref":"#/channels/outcomes"}`, `"channel":{"$ref":"#/channels/events"}`, "no operation is about channel outcomes"},
		"message":     {`"#/channels/outcomes/messages/landed"`, `"#/channels/events/messages/order.submitted"`, "no message of its channel"},
		"own name":    {`"name":"landed","payload":{"$ref"`, `"name":"lander","payload":{"$ref"`, "calls itself"},
		"headers":     {`"cloudEvents_type":{"const":"submitted"}}}],"type":"object"`, `"cloudEvents_type":{"const":"submitted"}}}]`, "no map"},
		"schema":      {`"minLength":1`, `"minLength":"one"`, "schema"},
		"example":     {`"sku":"A1","qty":2,"price_cents":1250`, `"sku":7,"qty":2,"price_cents":1250`, "examples/0"},
		"two at once": {`"cloudEvents_type":{"const":"patched"}`, `"cloudEvents_type":{}`, "it is an example of document.patched as well"},
	})
}
