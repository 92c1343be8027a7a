package ingress

import (
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/ticketed/doorman/commands"
)

// Properties are what came with the message besides what the letter has fields for, as a JSON object for people to
// read; nil when there was nothing.
func (r *Refused) Properties() []byte {
	m := r.Message
	b := []byte{'{'}
	text := func(name, value string) {
		if value != "" {
			b = appendText(appendName(b, name), value)
		}
	}
	number := func(name string, value int, told bool) {
		if told {
			b = strconv.AppendInt(appendName(b, name), int64(value), 10)
		}
	}
	if r.Item != Whole { // it is the array's, and no id of this command
		number("item", r.Item, true)
		text("message_id", m.MessageID)
	}
	text("app_id", m.AppID)
	text("type", m.Type)
	text("expiration", m.Expiration)
	number("priority", int(m.Priority), m.Priority > 0)
	number("delivery_mode", 2, m.Persistent)
	number("deliveries", m.Deliveries, m.Deliveries > 0)
	if !m.SentAt.IsZero() {
		b = appendValue(appendName(b, "timestamp"), m.SentAt, 0)
	}
	if len(m.Headers) > 0 {
		b = appendMap(appendName(b, "headers"), m.Headers, 0)
	}
	if len(b) == 1 {
		return nil
	}
	return append(b, '}')
}

func appendName(b []byte, name string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	return append(appendText(b, name), ':')
}

// appendText appends a text, or bytes that are none as what they are in base64.
func appendText(b []byte, text string) []byte {
	if !utf8.ValidString(text) {
		return append(base64.StdEncoding.AppendEncode(append(b, `"base64:`...), []byte(text)), '"')
	}
	return commands.AppendJSONString(b, text)
}

// deepest is how many maps and lists within each other are told of.
const deepest = 32

func appendMap(b []byte, m map[string]any, depth int) []byte {
	b = append(b, '{')
	for _, key := range slices.Sorted(maps.Keys(m)) {
		b = appendValue(appendName(b, key), m[key], depth+1)
	}
	return append(b, '}')
}

func appendValue(b []byte, value any, depth int) []byte {
	if depth > deepest {
		return append(b, `"…"`...)
	}
	switch v := value.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case string:
		return appendText(b, v)
	case []byte:
		return appendText(b, string(v))
	case time.Time:
		return append(v.UTC().AppendFormat(append(b, '"'), time.RFC3339), '"')
	case map[string]any:
		return appendMap(b, v, depth)
	case []any:
		b = append(b, '[')
		for i, each := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendValue(b, each, depth+1)
		}
		return append(b, ']')
	}
	return appendOther(b, reflect.ValueOf(value), depth)
}

// appendOther appends numbers of all kinds, and a map of a library's own type.
func appendOther(b []byte, v reflect.Value, depth int) []byte {
	switch {
	case v.CanInt():
		return strconv.AppendInt(b, v.Int(), 10)
	case v.CanUint():
		return strconv.AppendUint(b, v.Uint(), 10)
	case v.CanFloat() && !math.IsNaN(v.Float()) && !math.IsInf(v.Float(), 0):
		return strconv.AppendFloat(b, v.Float(), 'g', -1, v.Type().Bits())
	case v.CanConvert(reflect.TypeFor[map[string]any]()):
		return appendMap(b, v.Convert(reflect.TypeFor[map[string]any]()).Interface().(map[string]any), depth)
	}
	return appendText(b, fmt.Sprint(v.Interface()))
}
