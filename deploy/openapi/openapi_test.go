package openapi_test

import (
	"encoding/json"
	"flag"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/document"
	"github.com/ticketed/doorman/aggregate/order"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/deploy/chains"
	"github.com/ticketed/doorman/deploy/contracttest"
	"github.com/ticketed/doorman/deploy/openapi"
	"github.com/ticketed/doorman/deploy/openapi/openapitest"
	"github.com/ticketed/doorman/deploy/schemas/schemastest"
)

var update = flag.Bool("update", false, "rewrite the golden document")

// usual are the limits that are kept by default.
var usual = commands.LimitsView{
	MaxArray: 256, MaxBody: 256 << 10, MaxDepth: 32, MaxWatched: 256, ParkedPerStream: 256, ParkedPerSession: 1000,
	Parked: 50_000, ParkSeconds: 30,
}

func build(t *testing.T, types ...aggregate.Type) []byte {
	t.Helper()
	registry, err := aggregate.NewRegistry(types...)
	require.NoError(t, err)
	text, err := openapi.Build(openapi.Config{Types: registry, Examples: chains.All(registry), Limits: usual, Broker: true})
	require.NoError(t, err)
	return text
}

// The document of the built-in types is committed, so that a change of the API is seen as one:
// go test ./deploy/openapi -run Golden -update.
func TestGoldenDocumentOfTheBuiltInTypes(t *testing.T) {
	t.Parallel()
	schemastest.RequireGolden(t, "testdata/openapi.json", build(t, document.Type(), order.Type()), *update)
}

// So is that of the operators' API.
func TestGoldenDocumentOfTheOperatorsAPI(t *testing.T) {
	t.Parallel()
	made, err := openapi.BuildOperators()
	require.NoError(t, err)
	_, err = openapitest.New(made)
	require.NoError(t, err, "it is sound")
	schemastest.RequireGolden(t, "testdata/operators.json", made, *update)
}

func TestTheDocumentIsTheSameEachTime(t *testing.T) {
	t.Parallel()
	first := build(t, document.Type(), order.Type())
	for range 5 {
		require.Equal(t, string(first), string(build(t, order.Type(), document.Type())))
	}
}

func TestTheDocumentIsSound(t *testing.T) {
	t.Parallel()
	for name, types := range map[string][]aggregate.Type{
		"built in":                {document.Type(), order.Type()},
		"one type":                {order.Type()},
		"of the contract's tests": contracttest.Types(),
		"odd schemas":             {odd()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := openapitest.New(build(t, types...))
			require.NoError(t, err)
		})
	}
}

type happened interface{ happened() }

// odd has schemas that say where their parts are, and a name that is also a tag.
func odd() aggregate.Type {
	t := aggregate.Define[happened]("commands", struct{}{}, aggregate.Settings{})
	nothing := func(struct{}, json.RawMessage) ([]happened, error) { return nil, nil }
	aggregate.Handle(t, "own-parts", nothing, aggregate.Example(`{"a":{"a":{}}}`),
		aggregate.Schema(`{"$ref":"#/$defs/node","$defs":{"node":
			{"type":"object","additionalProperties":false,"properties":{"a":{"$ref":"#/$defs/node"}}}}}`))
	aggregate.Handle(t, "own_name", nothing, aggregate.Schema(`{"$schema":"https://json-schema.org/draft/2020-12/schema",
		"$id":"https://example.org/own","type":"array","items":{"$anchor":"x","type":"integer"}}`), aggregate.Example(`[1]`))
	aggregate.Handle(t, "nothing", nothing, aggregate.Schema(`true`))
	aggregate.Handle(t, "no_schema", nothing)
	aggregate.Handle(t, "markup", nothing, aggregate.Doc("Breaks <b> & \"quotes\"."), aggregate.Example(`"<script>"`))
	return t.MustBuild()
}

// Every command of every type is told with what there is to know of it.
func TestEveryCommandIsTold(t *testing.T) {
	t.Parallel()
	types := []aggregate.Type{document.Type(), order.Type()}
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				Description string
				Examples    []struct{ Data json.RawMessage }
				Properties  map[string]struct {
					Const any
					Enum  []string
				}
			}
		}
		Paths map[string]map[string]struct {
			RequestBody struct {
				Content map[string]struct{ Examples map[string]any }
			}
		}
	}
	require.NoError(t, json.Unmarshal(build(t, types...), &doc))
	examples := doc.Paths["/v1/commands"]["post"].RequestBody.Content["application/json"].Examples
	for _, typ := range types {
		for _, c := range typ.Commands() {
			schema := doc.Components.Schemas[typ.Name()+"."+c.Name]
			require.Equal(t, c.Doc, schema.Description)
			require.Equal(t, c.Name, schema.Properties["type"].Const)
			require.Len(t, schema.Properties["policy"].Enum, len(c.Policies))
			require.JSONEq(t, string(c.Example), string(schema.Examples[0].Data))
			require.Contains(t, examples, typ.Name()+"."+c.Name)
		}
	}
}
