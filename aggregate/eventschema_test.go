package aggregate

import (
	"bytes"
	"encoding/json"
	"math/rand"
	"reflect"
	"testing"
	"testing/quick"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

// byValue and byPointer encode themselves.
type (
	byValue   struct{ A, B int }
	byPointer struct{ A int }
	asText    int
	letter    byte
)

func (byValue) MarshalJSON() ([]byte, error)           { return []byte(`"by value"`), nil }
func (*byPointer) MarshalJSON() ([]byte, error)        { return []byte(`"by pointer"`), nil }
func (asText) MarshalText() ([]byte, error)            { return []byte("text"), nil }
func (l letter) MarshalJSON() ([]byte, error)          { return json.Marshal(string(rune('a' + l%26))) }
func (byValue) Generate(*rand.Rand, int) reflect.Value { return reflect.ValueOf(byValue{}) }

type inner struct {
	Far    int    `json:"far"`
	Near   string `json:"near"`
	Twice  int
	hidden int //nolint:unused // it is not to be seen
}

type other struct {
	Twice int
	Named bool `json:"named"`
}

type rival struct {
	Other int `json:"named"`
}

type tree struct {
	Name     string `json:"name"`
	Children []tree `json:"children"`
}

// everything has a member of each sort that encoding/json has rules of its own for.
type everything struct {
	inner
	*other
	rival `json:"rival"`

	Near      int  `json:"near"`
	Truth     bool `json:"truth,omitempty"`
	Small     int8
	Unsigned  uint32  `json:"unsigned"`
	Float     float64 `json:"float,string"`
	Quoted    *int    `json:"quoted,string"`
	Pointer   *string `json:"pointer"`
	Maybe     *string `json:"maybe,omitempty"`
	List      []int   `json:"list"`
	Lists     [][]int `json:"lists,omitempty"`
	Pair      [2]bool `json:"pair"`
	Bytes     []byte  `json:"bytes"`
	Octets    [3]byte `json:"octets"`
	Letters   []letter
	Map       map[string]int    `json:"map"`
	ByNumber  map[int]*bool     `json:"by_number,omitzero"`
	Anything  json.RawMessage   `json:"anything,omitempty"`
	Number    json.Number       `json:"number,omitempty"`
	ByValue   byValue           `json:"by_value"`
	ByPointer byPointer         `json:"by_pointer"`
	Pointers  []*byPointer      `json:"pointers"`
	AsText    asText            `json:"as_text"`
	Texts     map[asText]asText `json:"texts"`
	Tree      *tree             `json:"tree"`
	Skipped   func()            `json:"-"`
	For       time.Duration     `json:"for"`
	At        time.Time         `json:"at"`
	private   int               //nolint:unused // as above
}

// Generate is quick.Generator's: what quick cannot make is left as it is.
func (everything) Generate(random *rand.Rand, size int) reflect.Value {
	var e everything
	v := reflect.ValueOf(&e).Elem()
	for i := range v.NumField() {
		switch v.Type().Field(i).Name {
		case "inner", "Anything", "Number", "Tree", "Skipped", "At", "private", "other":
			continue
		}
		if !v.Field(i).CanSet() {
			continue
		}
		if made, ok := quick.Value(v.Field(i).Type(), random); ok {
			v.Field(i).Set(made)
		}
	}
	e.inner = inner{Far: random.Intn(size + 1)}
	if random.Intn(2) == 0 {
		e.other, e.Tree, e.At = &other{}, &tree{Children: []tree{{Name: "leaf"}}}, time.Unix(random.Int63n(1e9), 5)
		e.Anything, e.Number = json.RawMessage(`{"any":[1]}`), "1.5"
	}
	return reflect.ValueOf(e)
}

func compiledFor(t *testing.T, text []byte, draft *jsonschema.Draft) *jsonschema.Schema {
	t.Helper()
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	c.DefaultDraft(draft)
	c.AssertFormat()
	require.NoError(t, c.AddResource("event:schema", parsed))
	schema, err := c.Compile("event:schema")
	require.NoError(t, err)
	return schema
}

// What is written of any value fits the schema of its type, as either draft reads it.
func TestAnEventsSchemaIsTrueOfWhateverIsWritten(t *testing.T) {
	t.Parallel()
	for _, draft := range []*jsonschema.Draft{jsonschema.Draft7, jsonschema.Draft2020} {
		for _, onlyRead := range []bool{false, true} {
			schema := compiledFor(t, schemaOf(reflect.TypeFor[everything](), onlyRead), draft)
			require.NoError(t, quick.Check(func(e everything) bool {
				text, err := encodeJSON(e)
				if err != nil {
					t.Log(err)
					return false
				}
				value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
				if err == nil {
					err = schema.Validate(value)
				}
				if err != nil {
					t.Logf("%s: %v", text, err)
				}
				return err == nil
			}, &quick.Config{MaxCount: 300}))
		}
	}
}

// A schema that takes anything would be true too.
func TestAnEventsSchemaSaysWhatThereIsToSay(t *testing.T) {
	t.Parallel()
	require.JSONEq(t, `{"type":"object","additionalProperties":false,
		"properties":{"name":{"type":"string"},"children":{"type":["array","null"],"items":{}}},"required":["children","name"]}`,
		string(schemaOf(reflect.TypeFor[tree](), false)))
	var s struct {
		Properties map[string]json.RawMessage
		Required   []string
	}
	require.NoError(t, json.Unmarshal(schemaOf(reflect.TypeFor[everything](), false), &s))
	for name, want := range map[string]string{
		"near": `{"type":"integer"}`, "far": `{"type":"integer"}`, "named": `{"type":"boolean"}`,
		"rival": `{"type":"object","additionalProperties":false,"properties":{"named":{"type":"integer"}},"required":["named"]}`,
		"float": `{"type":"string"}`, "quoted": `{"type":["string","null"]}`, "pointer": `{"type":["string","null"]}`,
		"maybe": `{"type":"string"}`, "lists": `{"type":"array","items":{"type":["array","null"],"items":{"type":"integer"}}}`,
		"pair":  `{"type":"array","items":{"type":"boolean"},"minItems":2,"maxItems":2}`,
		"bytes": `{"type":["string","null"],"contentEncoding":"base64"}`, "unsigned": `{"type":"integer","minimum":0}`,
		"map":       `{"type":["object","null"],"additionalProperties":{"type":"integer"}}`,
		"by_number": `{"type":"object","additionalProperties":{"type":["boolean","null"]}}`,
		"by_value":  `{}`, "by_pointer": `{}`, "as_text": `{"type":"string"}`, "anything": `{}`, "number": `{"type":"number"}`,
		"at": `{"type":"string","format":"date-time"}`, "Twice": "", "hidden": "", "Skipped": "",
		"Small": `{"type":"integer"}`,
	} {
		if want == "" {
			require.NotContains(t, s.Properties, name)
			continue
		}
		require.JSONEq(t, want, string(s.Properties[name]), name)
	}
	for _, missing := range []string{"named", "truth", "maybe", "by_number"} {
		require.NotContains(t, s.Required, missing)
	}
	require.Subset(t, s.Required, []string{"near", "far", "pointer", "list"})
}

func TestATypeTellsOfItsEventsInAllTheirShapes(t *testing.T) {
	t.Parallel()
	type first struct{ Price int }
	type second struct {
		Cents int `json:"cents"`
	}
	d := Define[any]("shop", 0, Settings{})
	Handle(d, "buy", func(int, second) ([]any, error) { return nil, nil })
	On(d, "sold", func(s int, _ second) int { return s })
	On(d, "closed", func(s int, _ struct{}) int { return s })
	Upcast(d, "sold", 1, func(v first) second { return second{v.Price * 100} })
	events := d.MustBuild().Events()
	require.Len(t, events, 2)
	require.Equal(t, "closed", events[0].Name)
	require.Equal(t, "sold", events[1].Name)
	require.Len(t, events[1].Schemas, 2)
	require.JSONEq(t, `{"type":["object","null"],"properties":{"Price":{"type":["integer","null"]}}}`, string(events[1].Schemas[0]))
	require.Contains(t, string(events[1].Schemas[1]), `"required":["cents"]`)
}
