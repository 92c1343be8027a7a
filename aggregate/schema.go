package aggregate

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// schema checks a command's data against JSON Schema, draft 2020-12.
type schema struct {
	compiled *jsonschema.Schema
	usual    *acceptor // nil where the schema is beyond one
}

// compileSchema compiles a schema that stands by itself: a reference to a file or an address is an error.
// Formats are checked.
func compileSchema(text []byte) (*schema, error) {
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	const place = "command:schema"
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	compiler.UseLoader(jsonschema.SchemeURLLoader{})
	if err := compiler.AddResource(place, parsed); err != nil {
		return nil, err
	}
	compiled, err := compiler.Compile(place)
	if err != nil {
		return nil, err
	}
	return &schema{compiled: compiled, usual: acceptorOf(parsed)}, nil
}

// check returns an *InvalidError for the first place, by its pointer, where data breaks the schema. It
// takes data for JSON.
func (s *schema) check(data []byte) error {
	if s.usual != nil && s.usual.accepts(data) {
		return nil
	}
	if wrong := anything.check(data, nil, false); wrong != nil {
		return wrong
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return &InvalidError{Detail: "is not JSON: " + err.Error()}
	}
	err = s.compiled.Validate(value)
	if violations := (*jsonschema.ValidationError)(nil); errors.As(err, &violations) {
		return firstViolation(violations)
	}
	return err
}

// firstViolation picks one violation, always the same one whatever order the validator found them in.
func firstViolation(root *jsonschema.ValidationError) *InvalidError {
	var first *InvalidError
	for _, leaf := range leaves(root, nil) {
		if v := violation(leaf); first == nil ||
			v.Path < first.Path || v.Path == first.Path && v.Detail < first.Detail {
			first = v
		}
	}
	return first
}

// leaves are the violations that say something by themselves. What an alternative of anyOf or oneOf asks
// for is not asked of the data, so the alternatives are not looked into.
func leaves(v *jsonschema.ValidationError, found []*jsonschema.ValidationError) []*jsonschema.ValidationError {
	switch v.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf, *kind.Not, *kind.Contains, *kind.PropertyNames:
		return append(found, v)
	}
	if len(v.Causes) == 0 {
		return append(found, v)
	}
	for _, cause := range v.Causes {
		found = leaves(cause, found)
	}
	return found
}

// violation words one violation; what is missing or too much is pointed at itself.
func violation(v *jsonschema.ValidationError) *InvalidError {
	path := v.InstanceLocation
	var detail string
	switch k := v.ErrorKind.(type) {
	case *kind.Required:
		path, detail = below(path, slices.Min(k.Missing)), "is missing"
	case *kind.DependentRequired:
		path, detail = below(path, slices.Min(k.Missing)), "is missing, and "+k.Prop+" asks for it"
	case *kind.AdditionalProperties:
		path, detail = below(path, slices.Min(k.Properties)), "is not a field of this command"
	case *kind.PropertyNames:
		path, detail = below(path, k.Property), "is not a name that may be used"
	default:
		detail = sentence(v.ErrorKind)
	}
	return &InvalidError{Path: pointerOf(path), Detail: detail}
}

func sentence(violated jsonschema.ErrorKind) string {
	switch k := violated.(type) {
	case *kind.Type:
		return "must be " + typesInWords(k.Want) + ", not " + typesInWords([]string{k.Got})
	case *kind.Enum:
		return "must be one of " + literals(k.Want)
	case *kind.Const:
		return "must be " + literals([]any{k.Want})
	case *kind.Format:
		return "must be in the format " + k.Want
	case *kind.Pattern:
		return "must match " + k.Want
	case *kind.Minimum:
		return "must be at least " + decimal(k.Want)
	case *kind.Maximum:
		return "must be at most " + decimal(k.Want)
	case *kind.ExclusiveMinimum:
		return "must be more than " + decimal(k.Want)
	case *kind.ExclusiveMaximum:
		return "must be less than " + decimal(k.Want)
	case *kind.MultipleOf:
		return "must be a multiple of " + decimal(k.Want)
	case *kind.MinLength:
		return count("must have at least", k.Want, "character")
	case *kind.MaxLength:
		return count("must have at most", k.Want, "character")
	case *kind.MinItems:
		return count("must have at least", k.Want, "item")
	case *kind.MaxItems:
		return count("must have at most", k.Want, "item")
	case *kind.MinProperties:
		return count("must have at least", k.Want, "field")
	case *kind.MaxProperties:
		return count("must have at most", k.Want, "field")
	case *kind.UniqueItems:
		return fmt.Sprintf("must not hold the same item twice (items %d and %d)", k.Duplicates[0], k.Duplicates[1])
	case *kind.FalseSchema:
		return "is not allowed here"
	case *kind.Contains:
		return "must hold an item of the form it asks for"
	case *kind.Not:
		return "is of a form that is not allowed"
	case *kind.AnyOf:
		return "fits none of the forms it may have"
	case *kind.OneOf:
		return "must fit exactly one of the forms it may have"
	}
	return "breaks the rule " + strings.Join(violated.KeywordPath(), "/") + " of the command's schema"
}

func below(path []string, name string) []string { return append(slices.Clip(path), name) }

func pointerOf(path []string) string {
	var text strings.Builder
	for _, name := range path {
		text.WriteString("/" + escapePointer(name))
	}
	return text.String()
}

const integer, null = "integer", "null"

func typesInWords(types []string) string {
	words := make([]string, len(types))
	for i, name := range types {
		switch name {
		case "object", "array":
			words[i] = "an " + name
		case integer:
			words[i] = "a whole number"
		case null:
			words[i] = name
		default:
			words[i] = "a " + name
		}
	}
	return strings.Join(words, " or ")
}

func count(rule string, n int, of string) string {
	if n != 1 {
		of += "s"
	}
	return fmt.Sprintf("%s %d %s", rule, n, of)
}

func literals(values []any) string {
	texts := make([]string, len(values))
	for i, value := range values {
		text, _ := encodeJSON(value) // it came from JSON
		texts[i] = string(text)
	}
	return strings.Join(texts, ", ")
}

// decimal writes a bound the way the schema did, as far as that can be told.
func decimal(n *big.Rat) string {
	if places, exact := n.FloatPrec(); exact {
		return n.FloatString(places)
	}
	return n.RatString()
}
