package admin

import (
	"encoding/json"
	"net/http"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/operate"
)

func (s *Server) cache(w http.ResponseWriter, r *http.Request) {
	state, err := s.opts.Desk.Cache(r.Context())
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, state)
}

// compact answers with a line of JSON for each step. The status is that of the
// beginning: an error after the first step is in a line, and the last line of a
// compaction that went through is StepEnd.
func (s *Server) compact(w http.ResponseWriter, r *http.Request) {
	var c api.Compact
	if err := decode(w, r, &c); err != nil {
		fail(w, err)
		return
	}
	begun := false
	enc := json.NewEncoder(w)
	tell := func(p api.Progress) {
		if !begun {
			begun = true
			w.Header().Set("Content-Type", "application/x-ndjson")
			w.Header().Set("Cache-Control", "no-store")
		}
		_ = enc.Encode(p) // fails when the client is gone, which ends the request
		_ = http.NewResponseController(w).Flush()
	}
	err := s.opts.Desk.Compact(r.Context(), c, tell)
	switch {
	case err == nil:
		tell(api.Progress{Step: api.StepEnd})
	case begun:
		e := operate.Explain(err)
		tell(api.Progress{Step: api.StepFail, Error: e.Message, Code: e.Code})
	default:
		fail(w, err)
	}
}
