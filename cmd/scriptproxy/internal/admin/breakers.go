package admin

import (
	"net/http"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
)

func (s *Server) breakers(w http.ResponseWriter, _ *http.Request) {
	answer(w, api.Breakers{Breakers: append([]api.Breaker{}, s.opts.Desk.Breakers()...)})
}

// resetBreaker answers with what the breakers are then.
func (s *Server) resetBreaker(w http.ResponseWriter, r *http.Request) {
	var reset api.BreakerReset
	if err := decode(w, r, &reset); err != nil {
		fail(w, err)
		return
	}
	if (reset.Script == "") == (reset.SHA == "") || reset.Version != "" && reset.Script == "" {
		fail(w, badRequest("say whose breaker: script, script and version, or sha"))
		return
	}
	if err := s.opts.Desk.ResetBreaker(reset); err != nil {
		fail(w, err)
		return
	}
	s.breakers(w, r)
}
