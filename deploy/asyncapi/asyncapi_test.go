package asyncapi_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/document"
	"github.com/ticketed/doorman/aggregate/order"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/deploy/asyncapi"
	"github.com/ticketed/doorman/deploy/asyncapi/asyncapitest"
	"github.com/ticketed/doorman/deploy/chains"
	"github.com/ticketed/doorman/deploy/contracttest"
	"github.com/ticketed/doorman/deploy/schemas/schemastest"
)

var update = flag.Bool("update", false, "rewrite the golden document")

// usual are the limits that are kept by default.
var usual = commands.LimitsView{MaxArray: 256, MaxBody: 256 << 10, MaxDepth: 32, ParkSeconds: 30}

func build(t *testing.T, prefix string, types ...aggregate.Type) []byte {
	t.Helper()
	registry, err := aggregate.NewRegistry(types...)
	require.NoError(t, err)
	text, err := asyncapi.Build(asyncapi.Config{Types: registry, Examples: chains.All(registry), Prefix: prefix, Limits: usual})
	require.NoError(t, err)
	return text
}

// The document of the built-in types is committed, so that a change of the interface is seen as one:
// go test ./deploy/asyncapi -run Golden -update.
func TestGoldenDocumentOfTheBuiltInTypes(t *testing.T) {
	t.Parallel()
	schemastest.RequireGolden(t, "testdata/asyncapi.json", build(t, "doorman", document.Type(), order.Type()), *update)
}

func TestTheDocumentIsTheSameEachTime(t *testing.T) {
	t.Parallel()
	first := build(t, "doorman", document.Type(), order.Type())
	for range 5 {
		require.Equal(t, string(first), string(build(t, "doorman", order.Type(), document.Type())))
	}
}

func documents() map[string][]aggregate.Type {
	return map[string][]aggregate.Type{
		"built in":                {document.Type(), order.Type()},
		"one type":                {order.Type()},
		"of the contract's tests": contracttest.Types(),
		"odd schemas":             {odd()},
	}
}

func TestTheDocumentIsSound(t *testing.T) {
	t.Parallel()
	for name, types := range documents() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := asyncapitest.New(build(t, "a.b_c-d", types...))
			require.NoError(t, err)
		})
	}
}

// AsyncAPI's makers publish what a document may look like, as JSON Schema.
func TestTheDocumentKeepsToAsyncAPIsOwnSchema(t *testing.T) {
	t.Parallel()
	const file = "node_modules/@asyncapi/specs/schemas/3.0.0.json"
	text, err := os.ReadFile(file)
	require.NoError(t, err, "deploy/services.sh node installs it")
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft7)
	require.NoError(t, compiler.AddResource("http://asyncapi.com/definitions/3.0.0/asyncapi.json", parsed))
	schema, err := compiler.Compile("http://asyncapi.com/definitions/3.0.0/asyncapi.json")
	require.NoError(t, err)
	check := func(document []byte) error {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
		require.NoError(t, err)
		return schema.Validate(value)
	}
	for name, types := range documents() {
		require.NoError(t, check(build(t, "doorman", types...)), name)
	}
	wrong := bytes.Replace(build(t, "doorman", order.Type()), []byte(`"action":"send"`), []byte(`"action":"shout"`), 1)
	require.Error(t, check(wrong), "the schema is only worth something if it finds what is wrong")
}

type happened interface{ happened() }

type anything struct{ json.RawMessage }

func (anything) happened() {}

// odd has schemas that say where their parts are or read otherwise in draft 7, and an event that may be anything.
func odd() aggregate.Type {
	t := aggregate.Define[happened]("events", struct{}{}, aggregate.Settings{})
	nothing := func(struct{}, json.RawMessage) ([]happened, error) { return nil, nil }
	aggregate.Handle(t, "own-parts", nothing, aggregate.Example(`{"a":{"a":{}}}`),
		aggregate.Schema(`{"$ref":"#/$defs/node","$defs":{"node":
			{"type":"object","additionalProperties":false,"properties":{"a":{"$ref":"#/$defs/node"}}}}}`))
	aggregate.Handle(t, "newer", nothing, aggregate.Schema(`{"type":"array","prefixItems":[{"type":"integer"}]}`), aggregate.Example(`[1]`))
	aggregate.Handle(t, "truth", nothing, aggregate.Schema(`true`))
	aggregate.Handle(t, "no_schema", nothing)
	aggregate.Handle(t, "say", func(_ struct{}, said json.RawMessage) ([]happened, error) { return []happened{anything{said}}, nil },
		aggregate.Doc("Breaks <b> & \"quotes\"."), aggregate.Example(`"<script>"`))
	aggregate.On(t, "said", func(s struct{}, _ anything) struct{} { return s })
	return t.MustBuild()
}

// Every event of every type is told with what there is to know of it.
func TestEveryEventIsTold(t *testing.T) {
	t.Parallel()
	types := []aggregate.Type{document.Type(), order.Type()}
	var doc struct {
		Channels   map[string]struct{ Messages map[string]any }
		Components struct {
			Messages map[string]struct {
				Bindings struct {
					AMQP struct {
						Key string `json:"x-routing-key"` //nolint:tagliatelle // AsyncAPI's way
					}
				}
				Examples []struct {
					Headers map[string]any
					Payload json.RawMessage
				}
			}
			Schemas map[string]json.RawMessage
		}
	}
	require.NoError(t, json.Unmarshal(build(t, "doorman", types...), &doc))
	for _, typ := range types {
		for _, e := range typ.Events() {
			name := typ.Name() + "." + e.Name
			require.Contains(t, doc.Channels["events"].Messages, name)
			m := doc.Components.Messages["events."+name]
			require.Equal(t, name, m.Bindings.AMQP.Key)
			require.Len(t, m.Examples, 1, "the built-in types have examples of commands that lead to each of their events: %s", name)
			require.Equal(t, typ.Name()+"/42", m.Examples[0].Headers["cloudEvents_subject"])
			require.NotEmpty(t, m.Examples[0].Payload)
		}
	}
	var added struct {
		AnyOf []struct {
			Properties map[string]any
			Required   []string
		}
	}
	require.NoError(t, json.Unmarshal(doc.Components.Schemas["event.order.line_added"], &added))
	require.Len(t, added.AnyOf, 2, "its newest shape, and the one before")
	require.Contains(t, added.AnyOf[0].Required, "price_cents")
	require.Contains(t, added.AnyOf[1].Properties, "price")
	require.Empty(t, added.AnyOf[1].Required)
}

func TestWhatIsNeededIsAskedFor(t *testing.T) {
	t.Parallel()
	for _, config := range []asyncapi.Config{{Prefix: "doorman"}, {Types: &aggregate.Registry{}}} {
		_, err := asyncapi.Build(config)
		require.Error(t, err)
	}
}
