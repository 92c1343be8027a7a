package aggregate

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func compiled(t require.TestingT, text string) *schema {
	s, err := compileSchema([]byte(text))
	require.NoError(t, err, text)
	return s
}

func valid(t require.TestingT, s *schema, data string) bool {
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(data))
	require.NoError(t, err)
	return s.compiled.Validate(value) == nil
}

// What is accepted on its bytes the validator would accept too; and but for escapes and for numbers that
// are not whole ones of 64 bits, the other way round, or the short way would not be worth having.
func TestAcceptorAgreesWithTheValidator(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := usualSchema(3).Draw(t, "schema")
		s := compiled(t, text)
		require.NotNil(t, s.usual, text)
		for range 5 {
			data := anyData(3).Draw(t, "data")
			accepted, isValid := s.usual.accepts([]byte(data)), valid(t, s, data)
			if accepted {
				require.True(t, isValid, "%s accepts %s", text, data)
			} else if !strings.ContainsAny(data, `\.eE9`) {
				require.False(t, isValid, "%s does not accept %s", text, data)
			}
		}
	})
}

var patterns = []string{"^a", "b$", "^.{2}$", "é"}

func someNames() *rapid.Generator[[]string] {
	return rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 3, rapid.ID[string])
}

func usualSchema(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		keywords := map[string]any{"title": "x", "description": "x", "$comment": "x", "default": 1}
		kinds := []string{"number", "integer", "string", "boolean", "null"}
		if depth > 0 {
			kinds = append(kinds, "object", "object", "array", "any")
		}
		kind := rapid.SampledFrom(kinds).Draw(t, "type")
		if kind != "any" {
			keywords["type"] = kind
		}
		with := func(keyword string, value func() any) {
			if rapid.Bool().Draw(t, keyword) {
				keywords[keyword] = value()
			}
		}
		bound := func() any { return rapid.IntRange(-2, 3).Draw(t, "bound") }
		length := func() any { return rapid.IntRange(0, 3).Draw(t, "length") }
		switch kind {
		case "string":
			with("minLength", length)
			with("maxLength", length)
			with("pattern", func() any { return rapid.SampledFrom(patterns).Draw(t, "pattern") })
			with("enum", func() any { return []string{"a", "ab", "é"} })
		case "number", "integer":
			with("minimum", bound)
			with("maximum", bound)
		case "array":
			with("items", func() any { return json.RawMessage(usualSchema(depth-1).Draw(t, "items")) })
		case "object":
			with("required", func() any { return someNames().Draw(t, "names") })
			with("additionalProperties", func() any { return rapid.Bool().Draw(t, "open") })
			with("properties", func() any {
				properties := map[string]any{}
				for _, name := range someNames().Draw(t, "names") {
					properties[name] = json.RawMessage(usualSchema(depth-1).Draw(t, name))
				}
				return properties
			})
		}
		text, err := json.Marshal(keywords)
		require.NoError(t, err)
		return string(text)
	})
}

func anyData(depth int) *rapid.Generator[string] {
	scalars := rapid.SampledFrom([]string{
		`null`, `true`, `false`, `0`, `-1`, `2`, `2.0`, `1.5`, `2e0`, `9223372036854775808`,
		`""`, `"a"`, `"ab"`, `"abc"`, `"é"`, `"éé"`, `"\u0061"`, `"a\"b"`, `"\ud83d\ude00"`,
	})
	if depth == 0 {
		return scalars
	}
	return rapid.OneOf(
		scalars,
		rapid.Custom(func(t *rapid.T) string {
			return "[" + strings.Join(rapid.SliceOfN(anyData(depth-1), 0, 3).Draw(t, "elements"), " , ") + "]"
		}),
		rapid.Custom(func(t *rapid.T) string {
			members := someNames().Draw(t, "names")
			for i, name := range members {
				escaped := `\u006` + string(rune('0'+name[0]-'`'))
				spelled := rapid.SampledFrom([]string{name, name, name, escaped}).Draw(t, "name")
				members[i] = ` "` + spelled + `" : ` + anyData(depth-1).Draw(t, "value")
			}
			return "{" + strings.Join(members, ",") + "}"
		}),
	)
}

// A keyword that an acceptor does not know may say anything: the validator decides.
func TestSchemasBeyondAnAcceptorAreLeftToTheValidator(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`true`, `{"type":["string","null"]}`, `{"enum":[1]}`, `{"const":1}`, `{"format":"date"}`,
		`{"minimum":1.5}`, `{"minimum":1e3}`, `{"exclusiveMinimum":1}`, `{"multipleOf":2}`, `{"minLength":1.0}`,
		`{"additionalProperties":{}}`,
		`{"patternProperties":{}}`, `{"items":true}`, `{"prefixItems":[{}]}`, `{"properties":{"a":true}}`,
		`{"$ref":"#/$defs/a","$defs":{"a":{}}}`, `{"anyOf":[{}]}`, `{"not":false}`, `{"type":"number","enum":["a"]}`,
		`{"minItems":1}`, `{"$id":"https://example.org/x"}`,
	} {
		require.Nil(t, compiled(t, text).usual, text)
	}
}

func TestAMemberGivenTwiceDoesNotStandInForAnother(t *testing.T) {
	t.Parallel()
	s := compiled(t, `{"required":["a","b"]}`)
	require.False(t, s.usual.accepts([]byte(`{"a":1,"a":1}`)))
	require.True(t, s.usual.accepts([]byte(`{"a":1,"b":1}`)))
}
