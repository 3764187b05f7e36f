package config

import (
	"fmt"

	"gopkg.in/yaml.v3"
)

// Document decodes a YAML document that is not a configuration into maps with
// string keys, lists and scalars, as encoding/json would decode the same in JSON.
func Document(data []byte) (any, error) {
	var v any
	if err := yaml.Unmarshal(data, &v); err != nil {
		return nil, err
	}
	if v == nil {
		return nil, fmt.Errorf("the document is empty")
	}
	return v, nil
}
