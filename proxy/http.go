//go:build linux

package proxy

import "errors"

var errHTTP = errors.New("the client speaks HTTP: possibly a web page that attacks a server which only the browser reaches")

// isHTTP tells the words by which Redis knows a browser that was lured into
// posting commands, and closes its connection at once (server.c,
// processCommand; networking.c, securityWarningCommand).
func isHTTP(name []byte) bool { return equalFold(name, "POST") || equalFold(name, "HOST:") }
