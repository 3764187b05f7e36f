package deploy

var (
	scriptproxy = built("scriptproxy", root, "./cmd/scriptproxy")
	helm        = built("helm", "tools", "helm.sh/helm/v3/cmd/helm")
	kustomize   = built("kustomize", "tools", "sigs.k8s.io/kustomize/kustomize/v5")
	kubeconform = built("kubeconform", "tools", "github.com/yannh/kubeconform/cmd/kubeconform")
)
