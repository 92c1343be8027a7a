package aggregate_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
)

// Everything a command's Go type may hold.
type (
	everything struct {
		Text     string          `json:"text"`
		Yes      bool            `json:"yes"`
		Small    int8            `json:"small"`
		Count    uint16          `json:"count"`
		Ratio    float32         `json:"ratio"`
		Exact    json.Number     `json:"exact"`
		At       time.Time       `json:"at"`
		Level    level           `json:"level"`
		Bytes    []byte          `json:"bytes"`
		Pair     [2]int          `json:"pair"`
		List     []item          `json:"list"`
		ByName   map[string]item `json:"by_name"`
		Maybe    *item           `json:"maybe"`
		Any      any             `json:"any"`
		Raw      json.RawMessage `json:"raw"`
		Quoted   int             `json:"quoted,string"`
		Untagged int
		Hidden   string `json:"-"`
		private  int    //nolint:unused // no member may fill it
		embedded
		*pointed
		Named embedded `json:"named"`
		Tree  *tree    `json:"tree"`
	}
	item struct {
		SKU string `json:"sku"`
	}
	embedded struct {
		Inner string `json:"inner"`
		Text  int    `json:"text"` // hidden by the nearer one
	}
	pointed struct {
		Deep string `json:"deep"`
	}
	tree struct {
		Branches []tree `json:"branches"`
		Next     *tree  `json:"next"`
	}
	level int
)

func (l *level) UnmarshalText(text []byte) error {
	if string(text) != "high" {
		return fmt.Errorf("%q is no level", text)
	}
	*l = 1
	return nil
}

// take is a type with one command, which keeps what it was given.
func take[C any](t *testing.T, about ...aggregate.About) (decide func(data string) error, got *C) {
	t.Helper()
	got = new(C)
	def := aggregate.Define[tallyEvent]("tally", tally{}, aggregate.Settings{})
	aggregate.Handle(def, "take", func(_ tally, c C) ([]tallyEvent, error) {
		*got = c
		return nil, nil
	}, about...)
	typ, err := def.Build()
	require.NoError(t, err)
	return func(data string) error {
		_, err := typ.Decide(tally{}, "take", []byte(data))
		return err
	}, got
}

func TestDataFillsTheFieldsOfACommand(t *testing.T) {
	t.Parallel()
	decide, got := take[everything](t)
	require.NoError(t, decide(` {
		"text":"é\n", "yes":true, "small":-128, "count":65535, "ratio":1.5e3, "exact":1.10,
		"at":"2026-01-02T03:04:05Z", "level":"high", "bytes":"AQI=", "pair":[1,2], "list":[{"sku":"A"}],
		"by_name":{"x":{"sku":"B"}}, "maybe":{"sku":"C"}, "any":{"whatever":[null]}, "raw":{"n":1.0},
		"quoted":"7", "Untagged":8, "inner":"i", "named":{"inner":"j","text":9},
		"tree":{"branches":[{"next":{"branches":null}}]}
	} `))
	want := everything{
		Text: "é\n", Yes: true, Small: -128, Count: 65535, Ratio: 1500, Exact: "1.10",
		At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Level: 1, Bytes: []byte{1, 2}, Pair: [2]int{1, 2},
		List: []item{{"A"}}, ByName: map[string]item{"x": {"B"}}, Maybe: &item{"C"},
		Any: map[string]any{"whatever": []any{nil}}, Raw: json.RawMessage(`{"n":1.0}`), Quoted: 7, Untagged: 8,
		embedded: embedded{Inner: "i"}, Named: embedded{Inner: "j", Text: 9},
		Tree: &tree{Branches: []tree{{Next: &tree{}}}},
	}
	require.Equal(t, want, *got)
	require.NoError(t, decide(`{"list":null,"by_name":null,"maybe":null,"any":null,"raw":null,"bytes":null}`))
	require.NoError(t, decide(``), "data that is left out is {}")
	require.NoError(t, decide(`{"\u0074ext":"a name is what it stands for"}`))
	require.Equal(t, "a name is what it stands for", got.Text)
}

func TestWhatDoesNotFitIsPointedAt(t *testing.T) {
	t.Parallel()
	decide, _ := take[everything](t)
	for _, row := range []struct{ data, path, detail string }{
		{`null`, "", "must be an object, not null"},
		{`[]`, "", "must be an object, not an array"},
		{`{"paint":1}`, "/paint", "is not a field of this command"},
		{`{"Text":"x"}`, "/Text", "is not a field of this command"},
		{`{"untagged":1}`, "/untagged", "is not a field of this command"},
		{`{"Hidden":"x"}`, "/Hidden", "is not a field of this command"},
		{`{"-":"x"}`, "/-", "is not a field of this command"},
		{`{"private":1}`, "/private", "is not a field of this command"},
		{`{"embedded":{}}`, "/embedded", "is not a field of this command"},
		{`{"a/b~c":1}`, "/a~1b~0c", "is not a field of this command"},
		{`{"\u00e9\"":1}`, `/é"`, "is not a field of this command"},
		{`{"text":1}`, "/text", "must be a string, not a number"},
		{`{"text":null}`, "/text", "must be a string, not null"},
		{`{"yes":"true"}`, "/yes", "must be true or false, not a string"},
		{`{"small":128}`, "/small", "must be a whole number of 8 bits, not 128"},
		{`{"small":1.0}`, "/small", "must be a whole number of 8 bits, not 1.0"},
		{`{"small":true}`, "/small", "must be a whole number of 8 bits, not a boolean"},
		{`{"count":-1}`, "/count", "must be a whole number of 16 bits, not negative, not -1"},
		{`{"ratio":1e39}`, "/ratio", "must be a number of 32 bits, not 1e39"},
		{`{"exact":"1"}`, "/exact", "must be a number, not a string"},
		{`{"exact":1e1000}`, "/exact", "is a number out of all proportion: 1e1000"},
		{`{"at":5}`, "/at", "cannot be read:"},
		{`{"list":[],"at":"noon"}`, "/at", "cannot be read:"},
		{`{"level":"low"}`, "/level", `cannot be read: "low" is no level`},
		{`{"level":1}`, "/level", "must be a string, not a number"},
		{`{"bytes":"?"}`, "/bytes", "cannot be read:"},
		{`{"bytes":[1]}`, "/bytes", "must be a string, not an array"},
		{`{"pair":null}`, "/pair", "must be an array, not null"},
		{`{"list":[{"sku":"A"},{"sku":2}]}`, "/list/1/sku", "must be a string, not a number"},
		{`{"list":[{"sku":"A"},{"qty":2}]}`, "/list/1/qty", "is not a field of this command"},
		{`{"list":{}}`, "/list", "must be an array, not an object"},
		{`{"by_name":{"x/y":{"sku":[]}}}`, "/by_name/x~1y/sku", "must be a string, not an array"},
		{`{"maybe":{"sku":false}}`, "/maybe/sku", "must be a string, not a boolean"},
		{`{"any":[{"n":-1E-9999999}]}`, "/any/0/n", "is a number out of all proportion: -1E-9999999"},
		{`{"named":{"deep":"x"}}`, "/named/deep", "is not a field of this command"},
		{`{"tree":{"branches":[{"next":{"leaves":1}}]}}`, "/tree/branches/0/next/leaves", "is not a field of this command"},
		{`{"small":` + strings.Repeat("1", 100) + `}`, "/small", "not " + strings.Repeat("1", 60) + "…"},
		{`{"text":"x"`, "", "cannot be read: unexpected end"},
		{`{"text":"x"} 1`, "", "cannot be read: invalid character"},
		{`{"text":tru}`, "/text", "must be a string, not a boolean"},
		{`{"yes":tru}`, "", "cannot be read:"},
		{`{`, "", "cannot be read: unexpected end"},
	} {
		t.Run(row.data[:min(len(row.data), 50)], func(t *testing.T) {
			t.Parallel()
			err := decide(row.data)
			var invalid *aggregate.InvalidError
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, row.path, invalid.Path)
			require.Contains(t, invalid.Detail, row.detail)
		})
	}
}

func TestMissingDataIsJudgedByTheSchema(t *testing.T) {
	t.Parallel()
	decide, _ := take[item](t, aggregate.Schema(`{"required":["sku"]}`))
	require.EqualError(t, decide(``), "at /sku: is missing")
	decideList, _ := take[[]item](t)
	require.NoError(t, decideList(``))
}

// A schema says where and why, the same place every time.
func TestViolationsOfASchemaArePointedAt(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ schema, data, path, detail string }{
		{`{"type":"object"}`, `1`, "", "must be an object, not a number"},
		{`{"type":["string","null"]}`, `1`, "", "must be null or a string, not a number"},
		{`{"required":["b","a"]}`, `{}`, "/a", "is missing"},
		{`{"additionalProperties":false}`, `{"z":1,"y":1}`, "/y", "is not a field of this command"},
		{`{"properties":{"a":{"required":["x/y"]}}}`, `{"a":{}}`, "/a/x~1y", "is missing"},
		{`{"dependentRequired":{"a":["c","b"]}}`, `{"a":1}`, "/b", "is missing, and a asks for it"},
		{`{"propertyNames":{"maxLength":1}}`, `{"ab":1}`, "/ab", "is not a name that may be used"},
		{`{"enum":["a",1,null,"<"]}`, `"b"`, "", `must be one of "a", 1, null, "<"`},
		{`{"const":"a"}`, `"b"`, "", `must be "a"`},
		{`{"format":"date"}`, `"2026-02-30"`, "", "must be in the format date"},
		{`{"pattern":"^a+$"}`, `"b"`, "", "must match ^a+$"},
		{`{"minimum":1.50}`, `1.49`, "", "must be at least 1.5"},
		{`{"maximum":10}`, `11`, "", "must be at most 10"},
		{`{"exclusiveMinimum":0}`, `0`, "", "must be more than 0"},
		{`{"exclusiveMaximum":1}`, `1.0`, "", "must be less than 1"},
		{`{"multipleOf":0.01}`, `0.001`, "", "must be a multiple of 0.01"},
		{`{"minLength":1}`, `""`, "", "must have at least 1 character"},
		{`{"maxLength":2}`, `"éáó"`, "", "must have at most 2 characters"},
		{`{"items":{"minimum":0}}`, `[1,-1]`, "/1", "must be at least 0"},
		{`{"minItems":1}`, `[]`, "", "must have at least 1 item"},
		{`{"maxItems":0}`, `[1]`, "", "must have at most 0 items"},
		{`{"minProperties":1}`, `{}`, "", "must have at least 1 field"},
		{`{"maxProperties":1}`, `{"a":1,"b":2}`, "", "must have at most 1 field"},
		{`{"uniqueItems":true}`, `[1,2,1.0]`, "", "must not hold the same item twice (items 0 and 2)"},
		{`{"properties":{"a":false}}`, `{"a":1}`, "/a", "is not allowed here"},
		{`{"unevaluatedProperties":false}`, `{"a":1}`, "/a", "is not allowed here"},
		{`{"anyOf":[{"type":"string"},{"minimum":5}]}`, `1`, "", "fits none of the forms it may have"},
		{`{"oneOf":[{"type":"number"},{"minimum":5}]}`, `6`, "", "must fit exactly one of the forms it may have"},
		{`{"allOf":[{"type":"number"},{"minimum":5}]}`, `1`, "", "must be at least 5"},
		{`{"minContains":2,"contains":{"const":1}}`, `[1]`, "", "breaks the rule minContains of the command's schema"},
		{`{"contains":{"const":1}}`, `[2]`, "", "must hold an item of the form it asks for"},
		{`{"not":{"type":"string"}}`, `"a"`, "", "is of a form that is not allowed"},
		{`{"$ref":"#/$defs/n","$defs":{"n":{"minimum":5}}}`, `1`, "", "must be at least 5"},
		{`{"minimum":5,"not":{"type":"string"}}`, `1e999999999`, "", "is a number out of all proportion: 1e999999999"},
	} {
		t.Run(row.schema+row.data, func(t *testing.T) {
			t.Parallel()
			decide, _ := take[json.RawMessage](t, aggregate.Schema(row.schema))
			for range 5 {
				var invalid *aggregate.InvalidError
				require.ErrorAs(t, decide(row.data), &invalid)
				require.Equal(t, aggregate.InvalidError{Path: row.path, Detail: row.detail}, *invalid)
			}
		})
	}
}

func TestNumbersAreJudgedByTheirLiteral(t *testing.T) {
	t.Parallel()
	decide, got := take[struct {
		Price json.Number `json:"price"`
	}](t, aggregate.Schema(`{"properties":{"price":{"multipleOf":0.01,"maximum":9007199254740993}}}`))
	require.NoError(t, decide(`{"price":0.30}`))
	require.Equal(t, json.Number("0.30"), got.Price)
	require.NoError(t, decide(`{"price":9007199254740993}`))
	require.Error(t, decide(`{"price":9007199254740993.01}`), "a float64 could not tell")
	require.Error(t, decide(`{"price":0.301}`))
}

func TestErrorsReadWell(t *testing.T) {
	t.Parallel()
	require.EqualError(t, &aggregate.InvalidError{Path: "/qty", Detail: "is missing"}, "at /qty: is missing")
	var refusal *aggregate.Refusal
	require.ErrorAs(t, fmt.Errorf("deciding: %w", aggregate.Refuse("full", "%d at most", 3)), &refusal)
	require.Equal(t, aggregate.Refusal{Code: "full", Message: "3 at most"}, *refusal)
}
