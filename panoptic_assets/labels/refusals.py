"""What language models write in place of a name: refusals, thoughts, words for "unknown".

Belongs here: telling them from names, in English, French, German, Spanish, Italian, Portuguese,
Dutch, and by their commonest forms in other languages of Europe and in Chinese and Japanese, which
some models fall back to. Does not belong here: where in an answer the name is
(``labels.vision_language``).

A group of images may be called anything, so a phrase counts only where no name has it: an apology
with what follows it in a refusal, "I can't" with a service that is declined. "Sorry notes", "soldat
inconnu" and "I can't believe it's not butter ads" are names.
"""

import functools
import re
import unicodedata

_LOOKED_AT = 1000
"""Characters: a refusal says so at its beginning."""

_APOSTROPHES = str.maketrans(dict.fromkeys("‘’‛ʼʹ′`´", "'"))
_PAUSE = re.compile(r"[.,;:!?…–—。、·]+|\s-+\s")
_OTHER = re.compile(r"[^\w', ]|_")

# All patterns are in the form that _folded gives: lower case, without accents, each pause a comma.
_BUT = r"(?:but|mais|aber|pero|ma|mas|maar|ale|men|но)"

_WHOLE_APOLOGIES = (
    r"(?:i'?m|i am|we'?re|we are) (?:\w+ )?sorry",
    r"(?:my|our) (?:\w+ )?apologies|(?:i|we) (?:\w+ly )?apologi[sz]e",
    r"(?:je suis|nous sommes) (?:\w+ )?(?:desole|navre)e?s?|toutes mes excuses|mes excuses",
    r"je (?:vous prie de m'excuser|m'excuse|regrette)|veuillez m'excuser",
    r"(?:es )?tut (?:mir|uns) (?:\w+ )?leid|ich (?:bedau[e]?re|entschuldige mich)",
    r"lo (?:siento|lamento)(?: mucho)?|(?:te|le|les) pido disculpas",
    r"mi (?:dispiace|spiace|scuso)(?: molto)?",
    r"(?:eu )?(?:sinto|lamento) muito|peco desculpas?",
    r"het spijt (?:me|mij|ons)(?: zeer| erg)?",
    r"(?:bardzo )?(?:mi )?przykro(?: mi)?|przepraszam",
    r"jag (?:ar ledsen|beklagar|ber om ursakt)|(?:jeg )?beklager|det beklager jeg",
    r"(?:мне |нам )?(?:очень )?жаль|(?:я )?(?:очень )?сожалею|извините|приношу извинения",
    r"omlouvam se|je mi lito|sajnalom|imi pare rau|ho sento|olen pahoillani|λυπαμαι|ζητω συγγνωμη",
)
"""Whole sentences: they count at the end and before any pause."""
_SHORT_APOLOGIES = r"(?:so |very )?sorry|(?:vraiment )?(?:desole|navre)e?s?"
_COURTESIES = (
    r"apologies|pardon|excuse me|excusez moi|entschuldigung|verzeihung|disculp[ae]n?|perdon"
    r"|scusa(?:mi|te)?|desculpe?a?|excuses|forlat|undskyld|unnskyld|anteeksi|συγγνωμη|простите"
    r"|prominte"
)
"""Words that names have as well: they count before a "but" or an "I cannot" alone."""

_END = r"[,' ]*$"

_ENGLISH = (
    r"(?:assist|identify|provide|comply|fulfill?|answer|describe|name|label|recogni[sz]e|determine"
    r"|process|analy[sz]e|view|access|engage|respond|categori[sz]e|classify|generate|participate"
    r"|speculate|comment|continue with|do (?:that|this)(?:$|,)|tell (?:what|who|which)"
    r"|help(?:$|,| (?:you|with|identify|name))"
    r"|see (?:the|any|these|this|those|an|your) (?:image|picture|photo|attach)"
    r"|make (?:a|any) (?:identification|determination|assumption|judg)"
    r"|(?:create|assign|suggest|give|offer|discuss|support)(?: you)?(?: (?:an?|any|the|this|that"
    r"|these|those|your|such|accurate|suitable|specific|single)){0,3} (?:labels?|names?|titles?"
    r"|answers?|descriptions?|opinions?|responses?|requests?|content|topics?|images?|pictures?"
    r"|photos?|people|persons?|individuals?|(?:you|this|that|one)(?=,|$))\b"
    r"|make out (?:what|who|(?:any|the|this|these|those) (?:images?|pictures?|photos?|details?"
    r"|people|persons?|faces?|content|subjects?))\b"
    r"|work with (?:the|this|that|these|those|your) (?:images?|pictures?|photos?|content"
    r"|requests?))"
)
_ENGLISH_OBJECT = (
    r"(?: (?:an?|any|the|this|that|these|those|your|such|real|specific|individual|common|in|of|for"
    r"|to|with|what|who|you|me)){0,4} (?:images?|pictures?|photos?|people|persons?|individuals?"
    r"|faces?|subjects?|identit(?:y|ies)|content|requests?|tasks?|labels?|names?|titles?"
    r"|descriptions?|answers?|instructions?|themes?|groups?|clusters?|(?:this|that|you)(?=,|$))\b"
)
"""What a model declines to name; "we" do not do much else, on signs and in songs."""
_FRENCH = (
    r"(?:aider|assister|identifier|repondre|fournir|decrire|nommer|determiner|reconnaitre|traiter"
    r"|analyser|acceder|satisfaire|commenter|attribuer|etiqueter|prononcer|visualiser|examiner"
    r"|interpreter|participer|proposer|generer|voir (?:les?|la|l'|cette|ces|d')|dire (?:qui|ce)"
    r"|donner (?:suite|de|un|le|la|l')|faire (?:cela|ca|ceci))"
)
_FRENCH_OBJECT = (
    r"(?: (?:a|aux?|dans|de|des|du|les?|la|ces?|cette|cet|une?|sur|vos|votre|qui|ce qui)"
    r"| [ld]'){0,4} ?(?:images?|photos?|photographies?|personnes?|individus?|visages?|sujets?"
    r"|identites?|contenus?|demandes?|requetes?|etiquettes?|noms?|descriptions?|reponses?|groupes?"
    r"|cela)\b"
)
_GERMAN = (
    r"(?:(?:weiter)?helfen|behilflich|identifizieren|beantworten|erkennen|beschreiben|benennen"
    r"|nennen|bestimmen|bereitstellen|verarbeiten|unterstutzen|analysieren|nachkommen|erfullen"
    r"|zuordnen|anzeigen|ansehen|sehen|sagen|geben|dienen|zugreifen|kommentieren)"
)
_DUTCH = (
    r"(?:helpen|identificeren|beantwoorden|herkennen|beschrijven|benoemen|bepalen|verwerken|geven"
    r"|bieden|voldoen|analyseren|zien|zeggen)"
)
_SPANISH = (
    r"(?:ayudar|asisti|identific|proporcion|responder|describi|nombrar|determin|reconoc|procesar"
    r"|cumplir|analiz|acceder|etiquet|comentar|ofrecer|clasific|atender|hacer eso|ver (?:la|ning))"
)
_ITALIAN = (
    r"(?:aiut|assist|identific|forni|rispond|descriv|nominar|determin|riconosc|elabora|soddisf"
    r"|analizz|acceder|etichett|comment|classific|far(?:e questo|lo)|vedere (?:le|la|ness))"
)
_PORTUGUESE = (
    r"(?:ajud|assisti|identific|fornec|responder|descrev|nomear|determin|reconhec|process|cumpri"
    r"|analis|acess|rotul|coment|oferec|classific|atender|fazer isso|ver (?:as?|nenh))"
)
_SLAVIC = (
    r"(?:pomoc|zidentyfik|odpowiedz|opisac|nazwac|okreslic|rozpozna|przetworz|spelnic|udzielic"
    r"|помо|идентифи|определ|ответ|опис|назв|распозн|предостав|выполн|обработ"
    r"|identifik|odpovede|popsat|urcit|rozpozn)"
)
_NORDIC = (
    r"(?:hjalpa|hj[aæ]?lpe|hjelpe|identifi[ez]|beskriv|svara?\b|namnge|navngi|kanna igen|gjenkjen"
    r"|genkend|gora det|gi deg|give dig|ge dig)"
)

_DECLINE = (
    r"(?:'?m| am|'?re| are|'?ll| will| must| have to)? (?:\w+ly |just |still |also )?"
    r"(?:can'?t|can ?not|could ?n[o']?t|couldn'?t|won'?t|will not|unable to|not able to|decline to"
    r"|refuse to|not (?:allowed|permitted|designed|programmed|going|here) to|not comfortable"
    r"|don'?t feel comfortable|do not feel comfortable)(?: be able to)?(?: \w+ly){0,3} "
)
_NOT_FRENCH = (
    r"(?: (?:\w+ment|donc|helas))? ?(?:pas )?(?:(?:pas|a|vous|te|les?|la|en|y|me)\b ?|[tlm]'){0,5}"
)
_AS_AI = (
    r"(?=,|$| (?:language|model|sprach|taal|jezykow|jazykov|sprak|sprog|assist|system|develop|creat"
    r"|train|design|visual|vision|multimodal|generativ)| (?:i|we|my|ich|ik|je|jag|jeg|kann|darf|bin"
    r"|kan|ben|non|no|nao|nie|ne|не|я)\b)"
)
"""What goes on after "as an AI" where a program says it: "come Ai Weiwei" is a name."""

_REFUSALS = (
    # Those that name the service that is declined may stand anywhere: "For privacy reasons, I …".
    r"\bi" + _DECLINE + _ENGLISH,
    r"(?:^|, |\b(?:but|and|as|because|since) )we"
    + _DECLINE
    + _ENGLISH
    + rf"(?:(?<=,)|,|{_END}|{_ENGLISH_OBJECT})",
    r"\b(?:i|we)(?:'?m| am| are)?(?: not| (?:don'?t|do not|wouldn'?t|would not) feel) comfortable "
    r"(?:with )?(?:naming|identifying|labell?ing|describing|providing|giving|assigning|guessing"
    r"|speculating|answering|commenting|analy[sz]ing|doing (?:so|that|this))\b",
    r"\b(?:i|we) (?:can'?t|can ?not|could not|couldn'?t),? in good conscience\b",
    r"\bi(?:'?d| would)? (?:prefer not to|rather not) (?:" + _ENGLISH + rf"|(?:say|guess){_END})",
    rf"^i prefer not to{_END}",
    rf"^(?:i|we) (?:can'?t|can ?not)(?: (?:tell|say)(?: for (?:sure|certain))?)?{_END}",
    r"^(?:i|we)(?: must| have to| will)?(?: (?:respectfully|politely))? (?:decline|refuse)"
    rf"(?: (?:this|that|your|the) (?:request|task|question))?{_END}",
    rf"^i have no (?:idea|clue)(?:{_END}|,? (?:what|who) (?:this|these|those|the|it|they)\b)",
    r"^(?:unable|not able|impossible) to " + _ENGLISH,
    r"^(?:unable|not able|failed) to (?:load|open|display|read|fetch|retrieve|download|see|find) "
    r"(?:(?:the|this|these|any|your|an) )?(?:images?|pictures?|photos?)\b",
    r"\bit(?:'?s| is| was) (?:not possible|impossible|difficult) (?:for me )?to "
    + _ENGLISH
    + rf"(?:(?<=,)|,|{_END}|{_ENGLISH_OBJECT})",
    r"^(?:can ?not|can'?t|could not) (?:be )?" + _ENGLISH,
    r"^can ?not be (?:identified|determined|named|labell?ed|described|processed)\b",
    r"(?:^|, |\b(?:but|that|as|since|because) )(?:(?:an?|any|the|this|that|these|those|your"
    r"|some) )?"
    r"(?:\w+ )?(?:images?|pictures?|photos?|people|persons?|individuals?|faces?|subjects?|content"
    r"|identit(?:y|ies)|labels?|names?|themes?|requests?|groups?|clusters?)"
    r"(?: (?!that |which |who )\w+){0,5} (?:can ?not|can'?t|could not|couldn'?t) be (?:\w+ly )?"
    r"(?:identified|determined|named|labell?ed|described|processed|analy[sz]ed|displayed|loaded"
    r"|viewed|accessed|recogni[sz]ed|categori[sz]ed|classified|fulfilled|provided|given)\b",
    r"\b(?:i|we) (?:don'?t|do not|didn'?t|did not) (?:see|receive|have) (?:any|an|the|enough"
    r"|sufficient|access|your) ?(?:images?|pictures?|photos?|ability|information|context|to\b)",
    r"\b(?:i|we) (?:don'?t|do not) know (?:(?:what|who) (?:this|these|those|that|it|they|the"
    r"|is (?:in|on|shown|depicted))|(?:what|how) to (?:name|call|label|answer|describe|say))\b",
    rf"^i (?:don'?t|do not) know{_END}|^(?:(?:i'?m|i am) )?(?:not sure|unsure){_END}",
    r"\b(?:i'?m|i am) (?:not sure|unsure) (?:what|who|how) (?:this|these|those|it|they|the|to)\b",
    r"\b(?:against|violat\w+) (?:my|our|openai'?s?|the (?:content|usage)) (?:\w+ )?(?:guidelines"
    r"|polic|programming|principles|terms)",
    r"^(?:(?:this|your|the) )?(?:request|content) (?:(?:has been|was|is) )?(?:denied|declined"
    r"|refused|rejected|blocked|filtered)$|^refusal$|^content policy violation$",
    r"\bno (?:images?|pictures?|photos?) (?:(?:were|was|are|is|have been|has been) )?(?:provided"
    r"|attached|uploaded|shared|supplied|received)\b",
    r"\bplease (?:provide|upload|share|attach|send) (?:me )?(?:(?:the|an?|more|some|your|clearer) "
    r")*(?:images?|pictures?|photos?|context|information|details)\b",
    r"^(?:unfortunately|regrettably),? (?:(?:i|we) (?:can|could|am|are|was|were|do|did|have|will"
    r"|won'?t|must)|i'?m\b|we'?re\b|i'?ve\b|it (?:is|was) (?:not |im|un|diff)|it (?:isn|seem"
    r"|appear)|there (?:is|are|was|were|isn|aren|seem)|(?:this|these|the|your"
    r"|no) (?:\w+ )?(?:images?|pictures?|photos?|people|persons?|individuals?|content|requests?"
    r"|labels?|information)\b)",
    r"\bje ne (?:peux|puis|pourrai|pourrais|saurais|parviens)" + _NOT_FRENCH + _FRENCH,
    r"\b(?:nous|on) ne (?:peux|peut|pouvons|pourrons|saurions|parvenons|saurait)"
    + _NOT_FRENCH
    + _FRENCH
    + rf"(?:,|{_END}|{_FRENCH_OBJECT})",
    r"\b(?:je n'(?:arrive|ai)|nous n'(?:arrivons|avons)) (?:\w+ment )?pas "
    r"(?:(?:a|pu|su|reussi a)\b ?)(?:(?:vous|te|les?|la|en|y)\b ?|[tl]'){0,2}" + _FRENCH,
    r"^(?:je|nous) ne (?:peux|puis|pouvons) (?:\w+ment )?pas(?: (?:le|vous le) (?:faire|dire))?"
    + _END,
    rf"^je ne sais pas{_END}|^je ne suis pas (?:sure?|certaine?){_END}",
    rf"^(?:je n'ai )?aucune idee{_END}",
    rf"^je (?:dois )?(?:refuse|decline)r?{_END}",
    r"\b(?:je|nous) ne (?:suis|sommes) (?:\w+ment )?(?:pas (?:\w+ment )?(?:en mesure|capable"
    r"|autorise|a l'aise|en capacite|programme|habilite)"
    r"|qu'une? (?:simple )?(?:ia|ai|intelligence artificielle|modele|assistante?|programme)\b)",
    r"\bje n'ai (?:\w+ment )?(?:pas|aucune?) (?:acces|la possibilite|la capacite|recu|assez"
    r"|suffisamment|d'images?|images?)",
    r"\bje ne (?:vois|distingue) (?:pas|aucune) (?:d'|l'|les |de )?(?:images?|photos?)",
    r"\bje (?:suis dans l'i(?:mpossibilite|ncapacite)|dois (?:refuser|decliner)|refuse de "
    + _FRENCH
    + r"|decline )",
    r"^(?:il m'est|il est) (?:impossible|difficile) (?:de |d')" + _FRENCH,
    r"\bil ne m'est pas possible|\bil n'est pas possible (?:de |d')" + _FRENCH,
    r"^(?:impossible|incapable) (?:de |d')(?:les? |la |l')?" + _FRENCH,
    r"^impossibles? a (?:identifier|determiner|nommer|decrire|reconnaitre|etiqueter|analyser)\b",
    r"^malheureusement,? (?:(?:je|nous) (?:ne |n'|suis|sommes|dois|devons)|il (?:m'|n'|ne |est "
    r"|y a )|(?:(?:ces?|cette|les?|la|aucune?) |l')(?:images?|photos?|personnes?|contenu"
    r"|demande)\b)",
    r"(?:^|, |\bmais )(?:(?:ces?|cette|les?|la|une?|vos|votre) |l')?(?:images?|photos?|personnes?"
    r"|individus?|visages?|sujets?|contenus?|identites?|demandes?)(?: (?!qui )[\w']+){0,5} ne "
    r"(?:peut|peuvent|pouvaient|pourraient) (?:\w+ment )?(?:pas )?etre (?:\w+ment )?(?:identifie"
    r"|decrit|determine|analyse|nomme|traite|reconnu|etiquete|affiche|charge|classe|satisfait)",
    r"\baucune (?:image|photo) (?:n'(?:a|est)|fournie|jointe|recue)",
    r"\b(?:ich|wir) (?:kann|konnen|konnte|darf|durfen|werde) (?:[\w']+,? ){0,10}?"
    r"(?:nicht|keine?[nrms]?)\b.*\b" + _GERMAN,
    r"\b(?:kann|konnen|darf) (?:ich|wir) (?:[\w']+,? ){0,10}?(?:nicht|keine?[nrms]?)\b.*\b"
    + _GERMAN,
    r"\bich bin (?:\w+ ){0,2}nicht (?:in der lage|befugt|berechtigt|sicher)",
    r"\bich (?:sehe|habe) (?:leider )?keine? (?:bild|foto|information|zugriff)",
    r"^leider (?:kann|konnen|darf|ist|sind|habe|wurde)\b",
    r"\bkann nicht (?:identifiziert|bestimmt|erkannt|benannt) werden",
    r"\b(?:ik|we|wij) kan (?:[\w']+,? ){0,10}?(?:niet|geen)\b.*\b" + _DUTCH,
    r"\bkan ik (?:[\w']+,? ){0,10}?(?:niet|geen)\b.*\b" + _DUTCH,
    r"\bik ben (?:helaas )?niet in staat|^helaas (?:kan|is|zijn|heb)\b",
    r"\bno (?:puedo|podemos|podria|pude|me es posible|soy capaz de|estoy autorizad[oa] a"
    r"|estoy en condiciones de) (?:\w+ )?" + _SPANISH,
    r"\bno (?:tengo (?:acceso|la capacidad)|veo (?:ninguna|las?) imag|dispongo de)",
    r"^(?:desafortunad|lamentabl|desgraciad)\w*mente,? (?:no|las?|los|el|esta)\b",
    r"\bnon (?:posso|possiamo|potrei|riesco a|sono in grado di|mi e possibile"
    r"|sono autorizzat[oa] a|e possibile) (?:\w+ )?" + _ITALIAN,
    r"\bnon (?:ho (?:accesso|la capacita)|vedo (?:nessuna|le) immagin)",
    r"^purtroppo,? (?:non|le|la|il|questa)\b",
    r"\bnao (?:posso|podemos|poderia|consigo|sou capaz de|me e possivel|e possivel"
    r"|estou autorizad[oa] a) (?:\w+ )?" + _PORTUGUESE,
    r"\bnao (?:tenho (?:acesso|a capacidade)|vejo (?:nenhuma|as) imag)",
    r"^infelizmente,? (?:nao|eu|as?|esta)\b",
    r"\b(?:nie (?:moge|mozemy|jestem w stanie|mog[lł]\w+)|я не (?:могу|в состоянии)|мы не можем"
    r"|nemohu|nemuzu) (?:\w+ )?" + _SLAVIC,
    r"^(?:niestety,? nie|bohuzel|к сожалению|на жаль)\b",
    r"\b(?:jag|jeg) kan (?:\w+ ){0,2}(?:inte|ikke) (?:\w+ ){0,6}?" + _NORDIC,
    r"^(?:tyvarr|desværre|dessverre) (?:kan|er|ar)\b|^valitettavasti (?:en|ei)\b|^sajnos nem\b",
    r"\bnu (?:pot|putem) (?:sa )?(?:\w+ )?(?:ajut|identific|raspund|descri)",
    r"\bno puc (?:ajudar|identificar|respondre|descriure)|\bδεν μπορω να (?:βοηθ|αναγνωρ|προσδιορ)",
    r"^(?:很)?抱歉|^对不起|^我(?:无法|不能)|^作为(?:一个|一名)?(?:ai|人工智能)|^申し訳",
    # What only a program says of itself.
    r"(?:^|, |\bbut )as (?:an? (?:\w+ ){0,3}?)?(?:(?:ai|artificial intelligence)"
    + _AS_AI
    + r"|(?:language model|llm|chatbot|(?:virtual|digital|helpful|responsible"
    r"|visual) assistant)\b)",
    r"\b(?:i'?m|i am) (?:just |only )?an? (?:\w+ ){0,2}?(?:(?:language model|llm)\b|ai"
    r"(?=,|$| (?:language|model|assistant|system|program|chatbot|bot|and|so|that|without|develop"
    r"|creat|train|design)))",
    r"\ben tant (?:qu'|que )(?:\w+ ){0,3}?(?:ia|ai|intelligence artificielle|assistant"
    r"|modele (?:de langage|linguistique|d'ia|de vision))\b",
    r"\bje suis (?:seulement )?une? (?:ia|intelligence artificielle|modele de langage)\b",
    r"^als (?:\w+ ){0,3}?(?:(?:ki|ai)"
    + _AS_AI
    + r"|(?:kunstliche intelligenz|sprachmodell|taalmodel|kunstmatige intelligentie)\b)",
    r"\b(?:ich bin|ik ben) (?:nur |slechts )?(?:eine?|een) (?:ki|ai|sprachmodell|taalmodel)\b",
    r"^como (?:\w+ ){0,3}?(?:ia"
    + _AS_AI
    + r"|(?:inteligencia artificial|modelo de (?:lenguaje|linguagem|idioma)"
    r"|as[is]stente virtual)\b)",
    r"^(?:come|in quanto|in qualita di) (?:\w+ ){0,3}?(?:(?:ia|ai)"
    + _AS_AI
    + r"|(?:intelligenza artificiale|modello (?:linguistico|di linguaggio)|assistente virtuale)\b)",
    r"^(?:jako|som|как) (?:\w+ ){0,3}?(?:(?:ai|si|ии)"
    + _AS_AI
    + r"|(?:sztuczna inteligencja|model jezykowy|jazykovy model|sprakmodell?|sprogmodel"
    r"|искусственныи интеллект|языковая модель)\b)",
)

_THOUGHTS = (
    r"^(?:(?:okay|ok|alright|all right|hmm+|well|so|wait|now|first|right|bon|alors|voyons),? )*"
    r"(?:let me (?:think|look|see(?=,|$| (?:what|if|how|the|these|this)\b)|start|check|analy[sz]e"
    r"|examine|consider|describe|try)|let'?s (?:think|look at (?:the|these)|start|analy[sz]e"
    r"|examine|break)|(?:i|we) (?:need|should|have|must|will|am asked|are asked)(?: to)? (?:name"
    r"|label|find a|give a|produce|output|answer|describe|analy[sz]e|look at|identify"
    r"|come up with)\b|(?:i|we) need (?:an?|the) label\b"
    r"|the user (?:(?:wants|asks|asked|is|provided|gave|sent|needs|would)\b|has (?:an?|the|not|also"
    r"|asked|given|provided|sent|shared|shown|uploaded|requested)\b)|the task is "
    r"|user (?:wants|asks|asked|provided|gave|sent|needs)(?: for)? (?:an?|the|me|us|to|some|\d+)\b"
    r"|looking at (?:the|these|those|all|this|your) (?:\w+ ){0,2}?(?:images?|pictures?|photos?)"
    r"(?: \w+){0,3}(?:,| i| we) |(?:i|we)(?:'?m| am| was|'?re| are| were|'?ve been"
    r"| have been) (?:given|shown|provided|presented)(?: with)? (?:\w+ ){0,4}?(?:images?|pictures?"
    r"|photos?)\b|l'utilisateur (?:veut|demande|souhaite|a)\b|je dois (?:nommer|trouver un"
    r"|decrire))",
    r"^(?:okay|ok|alright|hmm+|wait)(?:$|, (?:so|i|the|let|we|these|this|here)\b)",
    r"^(?:here is|here'?s) my (?:thought|thinking|reasoning)"
    rf"|^(?:my |the )?thinking process(?:,|{_END})",
)

_UNKNOWN = re.compile(
    r"(?:an? )?(?:unknown|unidentified|unidentifiable|undetermined|unlabell?ed|unnamed|unclear"
    r"|indeterminate|undefined)(?: (?:cluster|group|label|category|name|subjects?|theme|topic"
    r"|content|images?|pictures?|photos?))?"
    r"|(?:(?:groupe|categorie|cluster|nom|sujet|theme|contenu|image|photo) )?(?:inconnue?"
    r"|non identifiee?|non identifiable|non determinee?|non definie?|indetermin(?:ee?|able)"
    r"|indefinie?)|(?:(?:groupes|sujets|themes|contenus|images|photos) )?(?:non identifi(?:e|ee"
    r"|able)s|non determinee?s|indetermin(?:ee?|able)s)|(?:groupes|sujets|themes|images"
    r"|photos) inconnue?s|no (?:clear |obvious |apparent )?(?:common|clear|obvious|apparent|shared"
    r"|single|unifying|discernible|identifiable)(?: visual)? (?:themes?|subjects?|topics?"
    r"|patterns?|elements?|features?|labels?|names?)(?: (?:found|identified|detected))?"
    r"|(?:aucun|pas de|sans) (?:sujet|theme|element|motif|lien|point|trait) (?:commun|clair"
    r"|identifiable|apparent|evident)|(?:your|insert|enter|add)(?: (?:a|the|your))? label(?: here)?"
    r"|(?:your|insert|enter|add)(?: (?:a|the|your))? (?:name|title|text|description) here"
    r"|label (?:text|here)|label,? (?:and )?description"
    r"|(?:votre|inserer|ajouter)(?: (?:une?|l'|le|la))? ?(?:etiquette|label|nom|titre) ici"
    r"|none|null|n,? ?[ad]|k,? a|tbd|not (?:applicable|available|known|identifiable)"
    r"|no (?:label|name|answer|idea)|label|string|aucune?|rien|non (?:applicable|disponible)"
    r"|(?:pas de|sans|aucun) (?:nom|label|etiquette)|indisponible"
    r"|unbekannte?[rs]?|nicht (?:bekannt|identifizierbar|verfugbar)|keine?|keine angabe"
    r"|kein name|unbestimmt|desconocid[oa]s?|ningun[oa]?|sin (?:nombre|etiqueta)|indeterminad[oa]"
    r"|no disponible|sconosciut[oaie]|ignot[oa]|nessun[oa]?|senza nome|non (?:disponibile"
    r"|identificat[oaie])|desconhecid[oa]s?|nenhuma?|sem nome|nao (?:identificad[oa]|disponivel)"
    r"|onbekend|geen|niet (?:bekend|beschikbaar)|nieznan[yae]|brak"
    r"|okand|okant|ukendt|ukjent|ingen|tuntematon|neznam[yae]|ismeretlen|necunoscut"
    r"|неизвестн\w+|нет|αγνωστ\w+|未知|不明"
)


def _folded(text: str) -> str:
    """A text as patterns have it: no capitals, accents or marks, and each pause as ``, ``."""
    text = text[:_LOOKED_AT].casefold().translate(_APOSTROPHES)
    letters = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in letters if not unicodedata.combining(c))[:_LOOKED_AT]
    plain = _OTHER.sub(" ", _PAUSE.sub(",", plain))
    return ", ".join(filter(None, (" ".join(part.split()) for part in plain.split(",")))) + (
        "," if plain.rstrip().endswith(",") else ""
    )


_APOLOGY = re.compile(
    rf"^(?:(?:oh|ah|well|hmm+|hello|hi|bonjour|hallo|hola),? )?(?:"
    rf"(?:{'|'.join(_WHOLE_APOLOGIES)})(?:,|$| {_BUT}\b| (?:that (?:i|the|th[ie]se?)"
    r"|for (?:the|any) (?:confusion|inconvenience|misunderstanding)|de ne|di non|dass ich)\b)"
    rf"|(?:{_SHORT_APOLOGIES})(?:,?$|,? {_BUT}\b"
    r"|, (?:i (?:can|could|am (?:un|not)|do|won'?t)|i'?m un|je ne |je n'a|nous ne |unable "
    r"|(?:impossible|incapable) d))"
    rf"|(?:{_COURTESIES})(?:,? {_BUT}\b|, (?:i (?:can'?t|can ?not|am (?:unable|not able))\b"
    r"|i'?m (?:unable|not able)\b|je (?:ne (?:peux|puis|suis pas)|n'arrive pas)\b"
    r"|impossible (?:de |d')|ich kann|non posso|no puedo|nao posso)))"
)
_SONG = re.compile(r"^(?:i'?m|i am) (?:\w+ )?sorry, i (?:(?:love|miss|hate) you|haven'?t a clue)\b")
_KINDS = (
    r"(?:signs|posters|placards|banners|memes|placeholders|diagrams|screens|gestures|stickers"
    r"|pancartes|affiches|banderoles)"
)
_WITH_WORDS = re.compile(
    rf"^(?=(?:[\w',]+ ){{1,8}}{_KINDS}{_END})"
    r"(?!.*\b(?:identif\w+|describe|decrire|recogni[sz]e|reconnaitre|analy[sz]er?|determiner?|label"
    r"|etiqueter|fournir|categori[sz]e|classify|assist|generate)\b)"
    r"(?!.*\b(?:can'?t|can ?not|unable to|able to|need to) (?:name|provide|help)\b|.*\bholding\b)"
    r"(?!.*\b(?:these|those|this|any|in|of|on|from|with|such|ces|dans|sur)\b)"
    rf"(?!.*\b(?:the|an?|your|les|des|name|nommer|comment|see|voir|make|and|or|et"
    rf"|ou) {_KINDS}{_END})"
)
"""What is written on a kind of objects, and the kind: "We refuse to participate protest signs"."""


@functools.cache
def _said() -> re.Pattern[str]:
    """What a model says that declines or thinks. It takes half a second to compile: not at import,
    which every command that reads labels would wait for."""
    return re.compile("|".join((*_REFUSALS, *_THOUGHTS)))


def is_no_name(text: str) -> bool:
    """Whether a model declines in a text, or thinks aloud, in place of naming anything."""
    folded = _folded(text).lstrip("' ")
    if _WITH_WORDS.search(folded) or _SONG.search(folded):
        return False
    return bool(_APOLOGY.search(folded) or _said().search(folded))


def is_unknown(text: str) -> bool:
    """Whether a label says that there is none: "unknown", "n/a", "inconnu", or marks alone."""
    folded = _folded(text).strip("', ")
    if not folded:
        return not any(unicodedata.category(c) == "So" for c in text)  # emoji name something
    return bool(_UNKNOWN.fullmatch(folded))
