"""The homework's page in English."""

ENGLISH = {
    "title": "CNN visualisation homework: {photo}",
    "lead": (
        "What the published Gluon notebook shows, in its order, computed by {backend} for {photo}; then the same with "
        "GoogLeNet, and its dream. {order}"
    ),
    "order.correct": (
        "Where the notebook computed something else than it meant to, the correct picture comes first and the "
        "notebook's after it."
    ),
    "order.published": (
        "Where the notebook computed something else than it meant to, its own picture comes first, as published, and "
        "the correct one after it."
    ),
    "untrained": (
        "Note: these weights are random, so the networks have learned nothing. Their answers and maps show only how "
        "everything is computed."
    ),
    "fact.photo": "photo",
    "fact.backend": "backend",
    "fact.versions": "versions",
    "fact.network": "network, weights and their SHA-256",
    "fact.seed": "seed",
    "fact.notebook": "notebook",
    "failed": "This section could not be made.",
    "correct": "Correct",
    "published": "As published",
    "photo.title": "The photo",
    "photo.text": (
        "Left the photo as it is, {width} by {height} pixels; right what the networks see of it: squashed to {side} by "
        "{side} pixels, as the notebook does, without regard to its proportions."
    ),
    "photo.alt": "The photo {photo}, whole and squashed to a square.",
    "saliency.title": "Saliency of {network}",
    "saliency.text": (
        "How much the score moves when a pixel changes: the largest absolute gradient over the three colours. From "
        "left to right: the photo, its saliency map in gray, the same map in colour. The network answers: {answer}, "
        "with probability {probability}."
    ),
    "saliency.alt": "Three panels: the photo {photo}, the saliency map of {network} in gray, and the map in colour.",
    "saliency.why": (
        "The two differ because the notebook recorded in training mode{effect}, differentiated the sum of all "
        "{classes} logits instead of the score of one class, and fed pixels in 0..1 without mean and standard "
        "deviation. Correlation of the two maps: {correlation}."
    ),
    "effect.dropout": ", with dropout on",
    "effect.norm": ", with batch norm on the statistics of this one picture",
    "effect.both": ", with dropout on and batch norm on the statistics of this one picture",
    "effect.none": "",
    "saliency.table": "What was computed",
    "table.step": "step",
    "table.mode": "forward pass",
    "table.mode.correct": "inference: dropout off, batch norm on stored statistics",
    "table.mode.published": "training: dropout on, batch norm on this picture's statistics",
    "table.score": "differentiated",
    "table.score.correct": "the logit of the answer, {answer}",
    "table.score.published": "the sum of all {classes} logits",
    "table.input": "pixels",
    "table.input.correct": "less the mean, over the standard deviation",
    "table.input.published": "in 0..1",
    "table.seed": "seed of the dropout masks",
    "table.seed.correct": "none",
    "architecture.title": "The architecture of {network}",
    "architecture.text": "The network as {backend} prints it.",
    "weights.title": "weight[0] of each convolution",
    "weights.text": (
        "The first filter of each of the {count} convolutions of {network}, as numbers: input channels, rows, columns. "
        "Long arrays are abbreviated as the notebook abbreviates them. {golden}"
    ),
    "golden.same": "The first filter's first channel is the published one, to all its digits.",
    "golden.other": (
        "The published first filter begins with -0.05347426; this one begins with {first}, since the weights here are "
        "{source}."
    ),
    "last-filter.title": "The first filter of the last convolution",
    "last-filter.text": (
        "Filter 0 of {layer}: {channels} input channels of {height} by {width} weights each, as numbers and as a "
        "picture of all its channels (blue negative, red positive, from -{high} to {high})."
    ),
    "last-filter.alt": "A grid of {channels} small squares, the input channels of filter 0 of {layer}.",
    "first-filters.title": "The weights of the first convolution of {network}",
    "first-filters.text": (
        "All {count} filters of {layer}, {height} by {width}, as numbers, and each drawn as the patch of colours that "
        "excites it, on its own scale."
    ),
    "first-filters.alt": "A grid of {count} colour filters of {height} by {width}.",
    "features.title": "{count} feature maps of the photo, {network}",
    "features.text": (
        "What the first convolution, {layer}, makes of the photo: left the picture, right {count} of its {total} maps, "
        "each from its own minimum (dark) to its own maximum (bright)."
    ),
    "features.alt": "The photo {photo}, and a grid of {count} feature maps of {layer} of {network}.",
    "features.why": (
        "The two differ because the notebook fed pixels in 0..1, while the network was trained on pixels less the mean "
        "over the standard deviation. Mean correlation of a map with its counterpart: {correlation}."
    ),
    "noise.title": "The noise picture, and its {count} feature maps",
    "noise.text": (
        "A picture of noise, each value drawn uniformly between 150 and 180 of 255, and {count} of the {total} maps "
        "that {layer} makes of it, each from its own minimum to its own maximum: there is nothing to find but grain."
    ),
    "noise.alt": "The picture of noise, and a grid of {count} feature maps of {layer} of {network}.",
    "dream.title": "A dream of {network}",
    "dream.text": (
        "The picture that unit {unit} of {layer} responds to most, grown from noise in {stages} stages of {steps} "
        "steps: {count} of them, from {first} to {last} pixels, each with the activation reached."
    ),
    "dream.alt": "{count} pictures from {first} to {last} pixels in which patterns grow out of noise.",
    "notebook.intro": (
        "Written by `vizkit homework`. Every cell can be run; the networks and the photo are named in the first one."
    ),
}
