"""The homework's page in Traditional Chinese, as written in Taiwan."""

CHINESE = {
    "title": "CNN 視覺化作業：{photo}",
    "lead": (
        "依照已發表的 Gluon 筆記本的順序，以 {backend} 對 {photo} 重新計算其中的每一項內容；接著以 GoogLeNet "
        "做同樣的事，並呈現它的夢境。{order}"
    ),
    "order.correct": "凡是筆記本實際算出的結果與其原意不符之處，先列出正確的圖，再列出筆記本的圖。",
    "order.published": "凡是筆記本實際算出的結果與其原意不符之處，先依發表時的算法列出筆記本的圖，再列出正確的圖。",
    "untrained": "注意：這裡使用的是隨機權重，網路未經訓練，因此其答案與各種圖只用來說明計算的過程。",
    "fact.photo": "照片",
    "fact.backend": "後端",
    "fact.versions": "版本",
    "fact.network": "網路、權重及其 SHA-256",
    "fact.seed": "隨機種子",
    "fact.notebook": "筆記本",
    "failed": "這一節無法產生。",
    "correct": "正確的算法",
    "published": "發表時的算法",
    "photo.title": "照片",
    "photo.text": (
        "左圖是原始照片，{width} × {height} 像素；右圖是網路實際看到的影像：與筆記本相同，不保留長寬比，直接縮放成 "
        "{side} × {side} 像素。"
    ),
    "photo.alt": "照片 {photo}：完整的原圖，以及縮放成正方形的影像。",
    "saliency.title": "{network} 的顯著圖",
    "saliency.text": (
        "顯著圖（saliency map）表示某個像素改變時，分數會跟著變動多少：取三個色彩通道中梯度絕對值的最大值。"
        "由左至右為照片、灰階的顯著圖、以色彩呈現的同一張顯著圖。網路的答案是：{answer}，機率 {probability}。"
    ),
    "saliency.alt": "三格圖：照片 {photo}、{network} 的灰階顯著圖，以及彩色顯著圖。",
    "saliency.why": (
        "兩者不同的原因：筆記本在訓練模式下進行前向傳播{effect}，微分的對象是全部 {classes} 個 logit "
        "的總和而非單一類別的分數，而且輸入的是 0 到 1 之間、未減去平均值也未除以標準差的像素。"
        "兩張顯著圖的相關係數：{correlation}。"
    ),
    "effect.dropout": "（dropout 仍在作用）",
    "effect.norm": "（批次正規化使用這單一張照片的統計量）",
    "effect.both": "（dropout 仍在作用，批次正規化使用這單一張照片的統計量）",
    "effect.none": "",
    "saliency.table": "計算的內容",
    "table.step": "步驟",
    "table.mode": "前向傳播",
    "table.mode.correct": "推論模式：關閉 dropout，批次正規化使用訓練時儲存的統計量",
    "table.mode.published": "訓練模式：開啟 dropout，批次正規化使用這張照片的統計量",
    "table.score": "微分的對象",
    "table.score.correct": "網路答案「{answer}」的 logit",
    "table.score.published": "全部 {classes} 個 logit 的總和",
    "table.input": "像素",
    "table.input.correct": "減去平均值，再除以標準差",
    "table.input.published": "0 到 1 之間",
    "table.seed": "dropout 遮罩的隨機種子",
    "table.seed.correct": "無",
    "architecture.title": "{network} 的架構",
    "architecture.text": "由 {backend} 印出的網路架構。",
    "weights.title": "每個卷積層的 weight[0]",
    "weights.text": (
        "{network} 共有 {count} 個卷積層，以下以數值列出每一層的第一個濾波器，依序為輸入通道、列、行。"
        "較長的陣列與筆記本一樣以省略號縮寫。{golden}"
    ),
    "golden.same": "第一個濾波器的第一個通道與已發表的數值完全一致，每一位數字都相同。",
    "golden.other": (
        "已發表的第一個濾波器以 -0.05347426 開頭；這裡的則以 {first} 開頭，因為這裡使用的權重是 {source}。"
    ),
    "last-filter.title": "最後一個卷積層的第一個濾波器",
    "last-filter.text": (
        "{layer} 的第 0 號濾波器：共 {channels} 個輸入通道，每個通道有 {height} × {width} 個權重。以下同時列出數值與"
        "所有通道的圖（藍色為負，紅色為正，範圍從 -{high} 到 {high}）。"
    ),
    "last-filter.alt": "由 {channels} 個小方格組成的圖，即 {layer} 第 0 號濾波器的各個輸入通道。",
    "first-filters.title": "{network} 第一個卷積層的權重",
    "first-filters.text": (
        "{layer} 全部 {count} 個 {height} × {width} 的濾波器，先列出數值，再各自畫成最能激發它的色塊，"
        "並各自使用自己的尺度。"
    ),
    "first-filters.alt": "由 {count} 個 {height} × {width} 彩色濾波器組成的圖。",
    "features.title": "照片的 {count} 張特徵圖（{network}）",
    "features.text": (
        "第一個卷積層 {layer} 對照片的反應：左邊是照片，右邊是它 {total} 張特徵圖中的 {count} 張，每張圖都從自己的"
        "最小值（暗）畫到最大值（亮）。"
    ),
    "features.alt": "照片 {photo}，以及 {network} 的 {layer} 層的 {count} 張特徵圖。",
    "features.why": (
        "兩者不同的原因：筆記本輸入的是 0 到 1 之間的像素，而網路訓練時使用的是減去平均值再除以標準差的像素。"
        "每張特徵圖與其對應圖的相關係數，平均為 {correlation}。"
    ),
    "noise.title": "雜訊圖及其 {count} 張特徵圖",
    "noise.text": (
        "一張雜訊圖，每個數值都由 150 到 180（滿值為 255）之間的均勻分布抽出，以及 {layer} 由它產生的 {total} 張特徵圖"
        "中的 {count} 張，每張圖都從自己的最小值畫到最大值：除了顆粒以外，沒有任何可以偵測的東西。"
    ),
    "noise.alt": "雜訊圖，以及 {network} 的 {layer} 層的 {count} 張特徵圖。",
    "dream.title": "{network} 的夢境",
    "dream.text": (
        "{layer} 的第 {unit} 號單元反應最強的影像，從雜訊開始，經過 {stages} 個階段、每階段 {steps} 步最佳化而成："
        "圖中是從 {first} 像素到 {last} 像素的其中 {count} 個階段，並標示各階段所達到的活化值。"
    ),
    "dream.alt": "{count} 張圖，從 {first} 像素到 {last} 像素，圖案逐漸從雜訊中浮現。",
    "notebook.intro": "由 `vizkit homework` 產生。每一個儲存格都可以執行；所用的網路與照片都寫在第一個程式儲存格中。",
}
