package aggregate

import (
	"bytes"
	"encoding/json"
	"slices"
	"sync"
)

// encoders are reused: an encoder and its buffer cost more than most events.
var encoders = sync.Pool{New: func() any {
	e := &encoder{}
	e.json = json.NewEncoder(&e.buffer)
	e.json.SetEscapeHTML(false)
	return e
}}

// maxKept is the largest buffer kept for the next value.
const maxKept = 64 << 10

type encoder struct {
	buffer bytes.Buffer
	json   *json.Encoder
}

// encodeJSON writes compact JSON without HTML escapes. A type that encodes itself is taken at its word:
// encoding/json would read and rewrite what it returns.
func encodeJSON(v any) ([]byte, error) {
	if own, ok := v.(json.Marshaler); ok {
		return own.MarshalJSON()
	}
	e, _ := encoders.Get().(*encoder)
	defer e.release()
	if err := e.json.Encode(v); err != nil {
		return nil, err
	}
	return slices.Clone(bytes.TrimSuffix(e.buffer.Bytes(), []byte{'\n'})), nil
}

func (e *encoder) release() {
	if e.buffer.Cap() <= maxKept {
		e.buffer.Reset()
		encoders.Put(e)
	}
}

// decodeJSON reads what encodeJSON wrote.
func decodeJSON(data []byte, into any) error {
	if own, ok := into.(json.Unmarshaler); ok {
		return own.UnmarshalJSON(data)
	}
	return json.Unmarshal(data, into)
}
