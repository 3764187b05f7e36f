package admin

import (
	"net/http"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
)

func (s *Server) nodes(w http.ResponseWriter, _ *http.Request) {
	answer(w, api.Nodes{Nodes: append([]api.Node{}, s.opts.Desk.Nodes()...)})
}
