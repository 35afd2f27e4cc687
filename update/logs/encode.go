package logs

import (
	"strconv"
	"unicode/utf8"

	"resin-supervisor/update/view"
)

// A message of more UTF-16 units than maxMessage is shortened to that length, cutMark at its end included
// (docs/spec/cloud.md 5.1).
const (
	maxMessage = 10000
	cutMark    = "[...]"
)

// appendLine encodes a line as one JSON object and a line end. For local listeners, the object has the name of the service,
// and the message is not shortened (docs/spec/cloud.md 5.7).
func appendLine(b []byte, l *view.LogLine, local bool) []byte {
	b = append(b, '{')
	if local && l.ServiceName != "" {
		b = append(b, `"serviceName":`...)
		b = append(appendString(b, l.ServiceName), ',')
	}
	message := l.Message
	if !local {
		message = shortened(message)
	}
	b = append(b, `"message":`...)
	b = appendString(b, message)
	if l.IsSystem {
		b = append(b, `,"isSystem":true`...)
	}
	b = append(b, `,"timestamp":`...)
	b = strconv.AppendInt(b, l.Timestamp, 10)
	if !l.IsSystem {
		b = append(b, `,"serviceId":`...)
		b = strconv.AppendInt(b, int64(l.ServiceID), 10)
	}
	if l.IsStdErr {
		b = append(b, `,"isStdErr":true`...)
	}
	return append(b, '}', '\n')
}

// shortened cuts a message that is too long.
func shortened(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	units, keep := 0, 0
	for i, r := range s {
		if units <= maxMessage-len(cutMark) {
			keep = i
		}
		if units++; r > 0xffff {
			units++
		}
		if units > maxMessage {
			return s[:keep] + cutMark
		}
	}
	return s
}

const hexDigits = "0123456789abcdef"

// appendString encodes a JSON string. Bytes that are not UTF-8 become the replacement character.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	plain := 0 // s[plain:i] needs no change
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(append(b, s[plain:i]...), `\ufffd`...)
				plain = i + 1
			}
			i += size
			continue
		}
		b = append(b, s[plain:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		plain = i
	}
	return append(append(b, s[plain:]...), '"')
}
