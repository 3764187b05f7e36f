//go:build linux

package proxy

import (
	"bytes"
	"strings"
)

// missingScript is what a server says of a sha that it does not know, with
// and without its second sentence (Redis, Valkey 8).
const missingScript = "NOSCRIPT No matching script."

// isNoScript tells whether a reply says that the server does not know a
// script.
func isNoScript(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("-"+missingScript))
	return ok && (len(rest) == len(crlf) || string(rest) == " Please use EVAL.\r\n")
}

// busyServer is how a server begins that refuses a request because it runs a
// script.
const busyServer = "BUSY "

// canForge tells whether a script may answer, with what it is given, an error
// that begins like text after it has run. For missingScript its NOSCRIPT would
// prove nothing, and the call would run twice; so such a script is always sent
// with its body, and its replies are believed as they are. For busyServer its
// BUSY would prove nothing, and is passed on. It errs on the side of yes: error
// texts must begin with a literal to be known.
func canForge(body []byte, text string) bool {
	code, _, _ := strings.Cut(text, " ")
	if containsFold(body, code) || bytes.Contains(body, []byte("loadstring")) || bytes.Contains(body, []byte("cmsgpack")) ||
		bytes.Contains(body, []byte("cjson")) && bytes.Contains(body, []byte("decode")) {
		return true
	}
	for at := 0; at < len(body); {
		if !isNameByte(body[at]) {
			at++
			continue
		}
		end := at + 1
		for end < len(body) && isNameByte(body[end]) {
			end++
		}
		word, after := string(body[at:end]), body[end:]
		at = end
		if word == "error_reply" && !saysOther(after, "(", text) || word == "err" && !saysOther(after, "=", text) {
			return true
		}
	}
	return false
}

// saysOther tells whether what follows sign, or a call of string.format on
// it, is a literal that can't begin text.
func saysOther(b []byte, sign, text string) bool {
	b = bytes.TrimLeft(b, " \t\r\n")
	b, ok := bytes.CutPrefix(b, []byte(sign))
	b = bytes.TrimLeft(b, " \t\r\n")
	b = bytes.TrimPrefix(b, []byte("string.format("))
	if !ok || len(b) == 0 || b[0] != '\'' && b[0] != '"' {
		return false
	}
	quote := b[0]
	b = bytes.TrimPrefix(b[1:], []byte("-"))
	for i := 0; i < len(b) && i < len(text); i++ {
		switch b[i] {
		case quote, '\\', '%':
			return false
		case text[i]:
		default:
			return true
		}
	}
	return false
}

func isNameByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}
