package load

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// response is the part of an HTTP/1.1 answer that matters here. Its body shares the memory it was read
// from.
type response struct {
	status     int
	body       []byte
	retryAfter time.Duration // 0 when not told
	closes     bool          // the server ends the connection after it
}

const (
	maxHeader   = 64 << 10
	maxResponse = 64 << 20
)

var errProtocol = errors.New("not an HTTP/1.1 answer")

// parseResponse reads one answer from the start of data and tells how many bytes it took; 0 when it is not
// whole yet.
func parseResponse(data []byte) (response, int, error) {
	end := bytes.Index(data, []byte("\r\n\r\n"))
	if end < 0 {
		if len(data) > maxHeader {
			return response{}, 0, fmt.Errorf("%w: no end of its header in %d bytes", errProtocol, len(data))
		}
		return response{}, 0, nil
	}
	var r response
	head, body := data[:end], data[end+4:]
	line, head, _ := bytes.Cut(head, []byte("\r\n"))
	if len(line) < 12 || string(line[:9]) != "HTTP/1.1 " {
		return r, 0, fmt.Errorf("%w: %.80q", errProtocol, line)
	}
	r.status, _ = strconv.Atoi(string(line[9:12]))
	if r.status < 200 {
		return r, 0, fmt.Errorf("%w: status %.80q", errProtocol, line)
	}
	length, chunked, err := r.parseFields(head)
	if err != nil {
		return r, 0, err
	}
	if chunked {
		whole, took, err := unchunk(body)
		r.body = whole
		if took > 0 {
			took += end + 4
		}
		return r, took, err
	}
	if length > maxResponse {
		return r, 0, fmt.Errorf("%w: a body of %d bytes", errProtocol, length)
	}
	if len(body) < length {
		return r, 0, nil
	}
	r.body = body[:length]
	return r, end + 4 + length, nil
}

func (r *response) parseFields(head []byte) (length int, chunked bool, err error) {
	length = -1
	for len(head) > 0 {
		var line []byte
		line, head, _ = bytes.Cut(head, []byte("\r\n"))
		switch line[0] | 0x20 { // most fields are told apart by their first letter
		case 'c', 'r', 't':
		default:
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case is(name, "content-length"):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 {
				return 0, false, fmt.Errorf("%w: content length %.80q", errProtocol, value)
			}
		case is(name, "transfer-encoding"):
			chunked = is(value, "chunked")
		case is(name, "connection"):
			r.closes = is(value, "close")
		case is(name, "retry-after"):
			if seconds, err := strconv.Atoi(string(value)); err == nil {
				r.retryAfter = time.Duration(seconds) * time.Second
			}
		}
	}
	if length < 0 && !chunked && r.status != 204 && r.status != 304 {
		return 0, false, fmt.Errorf("%w: a body without a length", errProtocol)
	}
	return max(length, 0), chunked, nil
}

func is(text []byte, lower string) bool {
	return len(text) == len(lower) && bytes.EqualFold(text, []byte(lower))
}

// unchunk joins a chunked body (RFC 9112 section 7.1); took is 0 when it is not whole yet.
func unchunk(data []byte) (body []byte, took int, err error) {
	for {
		at := bytes.Index(data[took:], []byte("\r\n"))
		if at < 0 {
			return nil, 0, nil
		}
		line, _, _ := bytes.Cut(data[took:took+at], []byte(";"))
		size, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 31)
		if err != nil || size > maxResponse {
			return nil, 0, fmt.Errorf("%w: chunk of %.40q bytes", errProtocol, line)
		}
		took += at + 2
		if size == 0 {
			break
		}
		if len(data) < took+int(size)+2 {
			return nil, 0, nil
		}
		body = append(body, data[took:took+int(size)]...)
		took += int(size) + 2
	}
	// Trailer fields, if any, then an empty line.
	for {
		at := bytes.Index(data[took:], []byte("\r\n"))
		if at < 0 {
			return nil, 0, nil
		}
		took += at + 2
		if at == 0 {
			return body, took, nil
		}
	}
}
