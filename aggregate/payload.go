package aggregate

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// payload reads the data of one command into its Go type C.
type payload[C any] struct {
	shape   *shape
	schema  *schema // nil: none
	raw     bool    // C is json.RawMessage
	missing []byte  // what missing data is taken for
}

func newPayload[C any](schemaText []byte) (*payload[C], error) {
	goType := reflect.TypeFor[C]()
	p := &payload[C]{shape: shapeOf(goType, map[reflect.Type]*shape{}), raw: goType == rawType}
	p.missing = []byte("null")
	if p.shape.fields != nil {
		p.missing = []byte("{}")
	}
	var err error
	if schemaText != nil {
		p.schema, err = compileSchema(schemaText)
	}
	return p, err
}

// read decodes data. What does not fit is an *InvalidError, the same for the same data.
func (p *payload[C]) read(data []byte) (C, error) {
	if len(data) == 0 {
		data = p.missing
	}
	if p.raw {
		return p.readRaw(data)
	}
	var command C
	if wrong := p.shape.check(data, nil, false); wrong != nil {
		return command, wrong
	}
	if p.schema != nil {
		if wrong := p.schema.check(data); wrong != nil {
			return command, wrong
		}
	}
	if err := json.Unmarshal(data, &command); err != nil {
		if wrong := p.shape.check(data, nil, true); wrong != nil {
			return command, wrong
		}
		return command, &InvalidError{Detail: "cannot be read: " + err.Error()}
	}
	return command, nil
}

func (p *payload[C]) readRaw(data []byte) (C, error) {
	var command C
	var compact bytes.Buffer
	compact.Grow(len(data))
	if err := json.Compact(&compact, data); err != nil {
		return command, &InvalidError{Detail: "is not JSON: " + err.Error()}
	}
	if p.schema != nil {
		if wrong := p.schema.check(data); wrong != nil {
			return command, wrong
		}
	}
	raw, _ := any(&command).(*json.RawMessage)
	*raw = compact.Bytes()
	return command, nil
}
