// Package cloudeventstest reads the events that other services are told of over AMQP 0-9-1 with CloudEvents' own Go
// SDK, as somebody does who knows nothing of us:
//
//	event, err := cloudeventstest.Read(delivery.Headers, delivery.ContentType, delivery.Body)
//
// The SDK's binding to AMQP is one to AMQP 1.0, whose application properties are the headers of 0-9-1; so the message
// that it reads is made here of these.
package cloudeventstest

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/spec"
	"github.com/cloudevents/sdk-go/v2/event"
)

// prefix begins the names of headers that are attributes (CloudEvents' AMQP binding 1.0.2, section 3.1.3.1).
const prefix = "cloudEvents_"

// name is what an attribute may be called (CloudEvents 1.0.2, Naming Conventions): the SDK lets capitals pass, and
// lengths beyond 20, which should not be.
var name = regexp.MustCompile(`^[a-z0-9]{1,20}$`)

// Read reads an event and validates it.
func Read(headers map[string]any, contentType string, body []byte) (*event.Event, error) {
	versions := spec.WithPrefix(prefix)
	stated, _ := headers[versions.PrefixedSpecVersionName()].(string)
	m := &message{headers: headers, contentType: contentType, body: body, version: versions.Version(stated)}
	if m.version == nil {
		return nil, fmt.Errorf("there is no version %q of CloudEvents", stated)
	}
	for header := range headers {
		if attribute, is := strings.CutPrefix(header, prefix); is && !name.MatchString(attribute) {
			return nil, fmt.Errorf("an attribute cannot be called %q", attribute)
		}
	}
	e, err := binding.ToEvent(context.Background(), m)
	if err != nil {
		return nil, fmt.Errorf("read the event: %w", err)
	}
	if err := e.Validate(); err != nil {
		return nil, fmt.Errorf("validate the event: %w", err)
	}
	return e, nil
}

// message is one in binary mode.
type message struct {
	headers     map[string]any
	contentType string
	body        []byte
	version     spec.Version
}

var (
	_ binding.MessageReader         = (*message)(nil)
	_ binding.MessageMetadataReader = (*message)(nil)
)

// GetAttribute is binding.MessageMetadataReader's.
func (m *message) GetAttribute(kind spec.Kind) (spec.Attribute, any) {
	attribute := m.version.AttributeFromKind(kind)
	if kind == spec.DataContentType {
		return attribute, m.contentType
	}
	return attribute, m.headers[attribute.PrefixedName()]
}

// GetExtension is binding.MessageMetadataReader's.
func (m *message) GetExtension(name string) any { return m.headers[prefix+name] }

// ReadEncoding is binding.MessageReader's.
func (m *message) ReadEncoding() binding.Encoding { return binding.EncodingBinary }

// ReadStructured is binding.MessageReader's.
func (m *message) ReadStructured(context.Context, binding.StructuredWriter) error {
	return binding.ErrNotStructured
}

// ReadBinary is binding.MessageReader's.
func (m *message) ReadBinary(_ context.Context, w binding.BinaryWriter) error {
	if err := w.SetAttribute(m.version.AttributeFromKind(spec.DataContentType), m.contentType); err != nil {
		return err
	}
	for header, value := range m.headers {
		extension, is := strings.CutPrefix(header, prefix)
		if !is || header == prefix+"specversion" {
			continue
		}
		var err error
		if attribute := m.version.Attribute(header); attribute != nil {
			err = w.SetAttribute(attribute, value)
		} else {
			err = w.SetExtension(extension, value)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", header, err)
		}
	}
	return w.SetData(bytes.NewReader(m.body))
}
