package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/operate"
)

func answer(w http.ResponseWriter, v any) { write(w, http.StatusOK, v) }

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // fails when the client is gone
}

// fail answers an error in JSON.
func fail(w http.ResponseWriter, err error) {
	e := operate.Explain(err)
	if e.Code == api.CodeUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	write(w, e.Status, e)
}

func badRequest(format string, args ...any) *api.Error {
	return &api.Error{Status: http.StatusBadRequest, Code: api.CodeBadRequest, Message: fmt.Sprintf(format, args...)}
}

// etag gives a resource's revision, for If-Match.
func etag(w http.ResponseWriter, revision uint64) {
	w.Header().Set("ETag", `"`+strconv.FormatUint(revision, 10)+`"`)
}

// ifMatch reads the revision on which a change is based; 0 when none is given.
func ifMatch(r *http.Request) (uint64, error) {
	v := strings.TrimSpace(r.Header.Get("If-Match"))
	if v == "" || v == "*" {
		return 0, nil
	}
	n, err := strconv.ParseUint(strings.Trim(v, `"`), 10, 64)
	if err != nil || n == 0 {
		return 0, badRequest("If-Match is %s; give the ETag of the script, or a revision of the registry", clip(v))
	}
	return n, nil
}

// bodyMost bounds a request: far above the largest script, so that one which is
// too large is told its own limit.
const bodyMost = 24 << 20

// decode reads a request's JSON. What is unknown is refused: a misspelt "force"
// must not be taken for its absence.
func decode(w http.ResponseWriter, r *http.Request, into any) error {
	if r.ContentLength == 0 {
		return nil
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return &api.Error{Status: http.StatusUnsupportedMediaType, Code: api.CodeBadRequest, Message: "the request must be JSON, with Content-Type: application/json"}
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyMost))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return &api.Error{Status: http.StatusRequestEntityTooLarge, Code: api.CodeInvalid, Message: fmt.Sprintf("the request has more than %d bytes", large.Limit)}
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return badRequest("the request can't be read: %v", err)
	case d.More():
		return badRequest("the request has something behind its JSON")
	}
	return nil
}

// count reads a whole number from the query.
func count(r *http.Request, name string, otherwise int) (int, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		return 0, badRequest("%s is %q, and not a whole number", name, clip(v))
	}
	return n, nil
}

// duration reads a duration from the query.
func duration(r *http.Request, name string, otherwise, most time.Duration) (time.Duration, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return otherwise, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 || d > most {
		return 0, badRequest("%s is %q; write a duration such as 5s, at most %s", name, clip(v), most)
	}
	return d, nil
}
